import type { NamedActor } from '../../api/responses.ts'
import { Foreign, Time } from './text.tsx'

/** What the API shows instead of a secret. */
const hidden = '[sealed]'
/** The form of the times that Kolbak stores. */
const storedTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Shows the value of a field as a word, as a time or as JSON. */
export function ValueText({ value }: { value: unknown }) {
  if (value === null || value === undefined) return <span class="soft">none</span>
  if (value === hidden) return <span class="soft">secret</span>
  if (typeof value === 'boolean') return <>{value ? 'yes' : 'no'}</>
  if (typeof value === 'string' && storedTime.test(value)) return <Time at={value} isExact />
  if (Array.isArray(value))
    return <Foreign text={value.map((each) => (typeof each === 'object' ? JSON.stringify(each) : String(each))).join(', ')} />
  return <Foreign text={typeof value === 'string' ? value : JSON.stringify(value)} />
}

/** Shows the values of a field before and after a change. The API shows neither value of a secret. */
export const ValueChange = ({ from, to }: { from: unknown; to: unknown }) =>
  from === hidden && to === hidden ? (
    <>replaced by a new value</>
  ) : (
    <>
      <del>
        <ValueText value={from} />
      </del>{' '}
      to{' '}
      <ins>
        <ValueText value={to} />
      </ins>
    </>
  )

/** Returns the author of a change in words. */
export const actorText = ({ kind, id, name }: NamedActor): string =>
  kind === 'system' ? 'Kolbak itself' : `${kind === 'key' ? 'key' : 'client'} ${name ?? id}`
