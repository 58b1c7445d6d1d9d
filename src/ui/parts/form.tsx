import type { ComponentChildren, TargetedEvent, TargetedInputEvent, TargetedKeyboardEvent } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import type { Failure } from '../lib/api.ts'

interface FieldProps {
  readonly label: string
  readonly name: string
  readonly hint?: ComponentChildren
  /** The failure of the form, which may name this field. */
  readonly failure?: Failure | null
}
/** Returns what the API found wrong with a field, or null. */
const faultOf = (failure: Failure | null | undefined, name: string): string | null =>
  failure?.details.find(({ path }) => path === name || path.startsWith(`${name}.`))?.message ?? null

interface InputProps {
  readonly type?: 'text' | 'url' | 'password' | 'number' | 'search'
  readonly required?: boolean
  readonly autoComplete?: 'off' | 'username' | 'current-password'
  readonly maxLength?: number
  readonly min?: number
  readonly max?: number
  readonly placeholder?: string
  readonly defaultValue?: string | number
  readonly onKeyUp?: (event: TargetedKeyboardEvent<HTMLInputElement>) => void
}
/** A labelled input with its hint and its fault. */
export function Field({ label, name, hint, failure, type, autoComplete = 'off', ...input }: FieldProps & InputProps) {
  const id = useId()
  const fault = faultOf(failure, name)
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        name={name}
        aria-invalid={fault !== null}
        aria-describedby={`${id}-hint`}
        autoComplete={autoComplete}
        spellcheck={false}
        type={type as 'text'} // the types of Preact do not take a union
        {...input}
      />
      <p id={`${id}-hint`} class={fault === null ? 'hint' : 'hint fault'}>
        {fault === null ? hint : `This ${fault}.`}
      </p>
    </div>
  )
}
/** A labelled choice among options. */
export function Choice({
  label,
  name,
  options,
  defaultValue,
  ...select
}: {
  label: string
  name: string
  options: Readonly<Record<string, string>>
  value?: string
  defaultValue?: string
  onChange?: (event: TargetedInputEvent<HTMLSelectElement>) => void
}) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} name={name} {...select}>
        {Object.entries(options).map(([value, text]) => (
          <option key={value} value={value} selected={value === (select.value ?? defaultValue)}>
            {text}
          </option>
        ))}
      </select>
    </div>
  )
}

/** Returns the values of a form by their names. */
export const valuesOf = (form: HTMLFormElement): Record<string, string> =>
  Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]))
/** Makes the handler of a form that calls `work` with its values. */
export const onSubmit = (work: (values: Record<string, string>) => unknown) => (event: TargetedEvent<HTMLFormElement, Event>) => {
  event.preventDefault()
  work(valuesOf(event.currentTarget))
}

/** A dialog over the page. Escape closes it, and the focus then returns to where it was. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const element = dialog.current
    element?.showModal()
    return () => element?.close()
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  )
}

/** Asks before something that cannot be undone. */
export function Confirm(props: {
  title: string
  word: string
  isDangerous?: boolean
  isRunning: boolean
  confirm: () => void
  close: () => void
  children: ComponentChildren
}) {
  const { title, word, isDangerous = false, isRunning, confirm, close, children } = props
  return (
    <Dialog title={title} close={close}>
      {children}
      <div class="row end">
        <button type="button" onClick={close}>
          Cancel
        </button>
        <button type="button" class={isDangerous ? 'danger' : 'primary'} disabled={isRunning} onClick={confirm}>
          {isRunning ? 'Working …' : word}
        </button>
      </div>
    </Dialog>
  )
}
