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
const typeNames: Readonly<Record<string, string>> = { number: 'a number', integer: 'a whole number', string: 'a text' }
/** Returns a sentence about what the API found wrong with a field or with one of the values in its list, or null. */
function faultOf(failure: Failure | null | undefined, name: string): string | null {
  const fault = failure?.details.find(({ path }) => path === name || path.startsWith(`${name}.`))
  if (fault === undefined) return null
  const index = /\.(\d+)$/.exec(fault.path)?.[1]
  const message = fault.message.replace(/(?<=^must be )(number|integer|string)(?=$| or )/, (type) => typeNames[type] ?? type)
  return `${index === undefined ? 'This' : `Value ${Number(index) + 1}`} ${message}.`
}

interface InputProps {
  readonly type?: 'text' | 'url' | 'password' | 'number' | 'search'
  readonly required?: boolean
  readonly autoComplete?: 'off' | 'username' | 'current-password'
  readonly maxLength?: number
  readonly min?: number
  readonly max?: number
  readonly placeholder?: string
  readonly defaultValue?: string | number
  readonly onInput?: (event: TargetedInputEvent<HTMLInputElement>) => void
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
        {fault ?? hint}
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

/** Marks the button that gets the focus in a dialog without a field. Of a dangerous action, it is the button that cancels. */
const focusedFirst = 'data-focused-first'
/**
 * Focuses what a person needs first in a dialog: the button of a dangerous action that cancels, else the first field, else the marked button. While that
 * button is disabled, the title has the focus.
 */
function focusFirst(dialog: HTMLDialogElement): void {
  const cancel = dialog.querySelector<HTMLElement>(`[${focusedFirst}=cancel]`)
  const field = dialog.querySelector<HTMLElement>('input:not([type=checkbox]), select, textarea')
  const button = dialog.querySelector<HTMLElement>(`[${focusedFirst}]:not(:disabled)`)
  ;(cancel ?? field ?? button ?? dialog.querySelector('h2'))?.focus()
}

/** A dialog over the page. Escape closes it, and the focus then returns to where it was. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const element = dialog.current
    element?.showModal()
    if (element !== null) focusFirst(element)
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
function DialogEnd({
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
}) {
  const end = useRef<HTMLDivElement>(null)
  const isDangerous = props.isDangerous === true
  useEffect(() => {
    // The button is ready only after a preview was read. A person who has moved the focus meanwhile keeps it.
    const dialog = end.current?.closest('dialog')
    if (props.isReady === true && dialog?.querySelector('h2') === document.activeElement) focusFirst(dialog)
  }, [props.isReady])
  return (
    <>
      {failure !== null && <Failed failure={failure} />}
      <div class="row end" ref={end}>
        <button type="button" onClick={props.close} {...(isDangerous ? { [focusedFirst]: 'cancel' } : {})}>
          Cancel
        </button>
        <button
          type={props.confirm === undefined ? 'submit' : 'button'}
          class={isDangerous ? 'danger' : 'primary'}
          disabled={isRunning || props.isReady === false}
          onClick={props.confirm}
          {...(isDangerous ? {} : { [focusedFirst]: 'confirm' })}
        >
          {isRunning && props.working !== undefined ? props.working : props.word}
        </button>
      </div>
    </>
  )
}

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
