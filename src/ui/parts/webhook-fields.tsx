import { useState } from 'preact/hooks'
import type { Webhook } from '../../api/responses.ts'
import type { Failure } from '../lib/api.ts'
import { Field } from './form.tsx'

type EditedFields = Pick<Webhook, 'callback_url' | 'event' | 'description' | 'retry_delays'>

/** Returns whether a pattern is probably a mistake. The API accepts it, because the names of events may have such dots too. */
const hasOddDots = (pattern: string): boolean => /^\.|\.\.|\.$/.test(pattern)

/** The inputs for the fields of a webhook that a person can set. */
export function WebhookFields({ webhook, failure }: { webhook?: EditedFields; failure: Failure | null }) {
  const [pattern, setPattern] = useState(webhook?.event ?? '')
  return (
    <>
      <Field
        label="URL"
        name="callback_url"
        type="url"
        required
        maxLength={2048}
        placeholder="https://example.com/webhooks"
        defaultValue={webhook?.callback_url ?? ''}
        failure={failure}
        hint="Kolbak posts each event to this address."
      />
      <Field
        label="Events"
        name="event"
        required
        maxLength={255}
        placeholder="order.*"
        defaultValue={webhook?.event ?? ''}
        onInput={(event) => setPattern(event.currentTarget.value.trim())}
        failure={failure}
        hint={
          <>
            An exact name (<code>order.created</code>), a prefix (<code>order.*</code>), or <code>*</code> for all events.
            {hasOddDots(pattern) && <strong> Look at the dots: few names have a dot at an end, or two dots in a row.</strong>}
          </>
        }
      />
      <Field
        label="Description"
        name="description"
        maxLength={2000}
        defaultValue={webhook?.description ?? ''}
        failure={failure}
        hint="Optional. For people."
      />
      <Field
        label="Seconds between attempts"
        name="retry_delays"
        placeholder="5, 300, 1800"
        defaultValue={webhook?.retry_delays?.join(', ') ?? ''}
        failure={failure}
        hint="Optional. One number for each further attempt, separated by commas. Empty: the service's own list."
      />
    </>
  )
}

/** Returns the body of a request from the values of the inputs. A list that is not numbers goes to the API as it is, which says what is wrong. */
export function bodyOf(values: Readonly<Record<string, string>>) {
  const { callback_url = '', event = '', description = '', retry_delays = '' } = values
  const delays = retry_delays
    .split(',')
    .map((delay) => delay.trim())
    .filter((delay) => delay !== '')
  return {
    callback_url: callback_url.trim(),
    event: event.trim(),
    description: description.trim() === '' ? null : description,
    retry_delays: delays.length === 0 ? null : delays.map((delay) => (Number.isNaN(Number(delay)) ? delay : Number(delay))),
  }
}
