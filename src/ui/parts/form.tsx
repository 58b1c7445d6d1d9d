import type { ComponentChildren, TargetedEvent, TargetedInputEvent, TargetedKeyboardEvent } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import type { Failure } from '../lib/api.ts'
import type { Action } from '../lib/query.ts'
import { Failed } from './messages.tsx'

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
    // The browser would focus the first control, which may be the last thing that a person needs.
    element?.querySelector<HTMLElement>('input, select, h2')?.focus()
    return () => element?.close()
  }, [])
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <h2 id={id} tabIndex={-1}>
        {title}
      </h2>
      {children}
    </dialog>
  )
}

type Progress = Pick<Action<[]>, 'isRunning' | 'failure'>

/** The failure and the buttons at the end of a dialog. Without `confirm`, the second button submits the form in which it stands. */
const DialogEnd = ({
  action: { isRunning, failure },
  ...props
}: {
  action: Progress
  word: string
  /** The word of the button while the action runs. Default: the same. */
  working?: string
  isDangerous?: boolean
  isReady?: boolean
  confirm?: () => void
  close: () => void
}) => (
  <>
    {failure !== null && <Failed failure={failure} />}
    <div class="row end">
      <button type="button" onClick={props.close}>
        Cancel
      </button>
      <button
        type={props.confirm === undefined ? 'submit' : 'button'}
        class={props.isDangerous === true ? 'danger' : 'primary'}
        disabled={isRunning || props.isReady === false}
        onClick={props.confirm}
      >
        {isRunning && props.working !== undefined ? props.working : props.word}
      </button>
    </div>
  </>
)

/** A form in a dialog. */
export const DialogForm = ({
  children,
  ...end
}: {
  action: Progress & Pick<Action<[Record<string, string>]>, 'run'>
  word: string
  working?: string
  isDangerous?: boolean
  close: () => void
  children: ComponentChildren
}) => (
  <form onSubmit={onSubmit(end.action.run)}>
    {children}
    <DialogEnd {...end} />
  </form>
)

/** Asks before something that cannot be undone. */
export function Confirm(props: {
  title: string
  word: string
  isDangerous?: boolean
  /** Whether the action makes sense now. Default true. */
  isReady?: boolean
  action: Progress
  confirm: () => void
  close: () => void
  children: ComponentChildren
}) {
  const { title, children, ...end } = props
  return (
    <Dialog title={title} close={end.close}>
      {children}
      <DialogEnd working="Working …" {...end} />
    </Dialog>
  )
}
