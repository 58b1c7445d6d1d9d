import type { NamedActor } from '../../api/responses.ts'
import { Foreign, Time } from './text.tsx'

/** The form of the times that Kolbak stores. */
const storedTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** Shows the value of a field as a word, as a time or as JSON. */
export function ValueText({ value }: { value: unknown }) {
  if (value === null || value === undefined) return <span class="soft">none</span>
  if (value === '[sealed]') return <span class="soft">secret</span>
  if (typeof value === 'boolean') return <>{value ? 'yes' : 'no'}</>
  if (typeof value === 'string' && storedTime.test(value)) return <Time at={value} isExact />
  if (Array.isArray(value))
    return <Foreign text={value.map((each) => (typeof each === 'object' ? JSON.stringify(each) : String(each))).join(', ')} />
  return <Foreign text={typeof value === 'string' ? value : JSON.stringify(value)} />
}

/** Shows the values of a field before and after a change. */
export const ValueChange = ({ from, to }: { from: unknown; to: unknown }) => (
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
