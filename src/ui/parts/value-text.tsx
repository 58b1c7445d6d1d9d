import type { NamedActor } from '../../api/responses.ts'
import { Foreign } from './text.tsx'

/** Shows the value of a field as a word or as JSON. */
export function ValueText({ value }: { value: unknown }) {
  if (value === null || value === undefined) return <span class="soft">none</span>
  if (value === '[sealed]') return <span class="soft">secret</span>
  if (typeof value === 'boolean') return <>{value ? 'yes' : 'no'}</>
  if (Array.isArray(value))
    return <Foreign text={value.map((each) => (typeof each === 'object' ? JSON.stringify(each) : String(each))).join(', ')} />
  return <Foreign text={typeof value === 'string' ? value : JSON.stringify(value)} />
}

/** Returns the author of a change in words. */
export const actorText = ({ kind, id, name }: NamedActor): string =>
  kind === 'system' ? 'Kolbak itself' : `${kind === 'key' ? 'key' : 'client'} ${name ?? id}`
