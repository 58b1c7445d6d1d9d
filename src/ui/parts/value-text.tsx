import { Foreign } from './text.tsx'

/** Shows the value of a field as a word or as JSON. */
export function ValueText({ value }: { value: unknown }) {
  if (value === null || value === undefined) return <span class="soft">none</span>
  if (value === '[sealed]') return <span class="soft">secret</span>
  if (typeof value === 'boolean') return <>{value ? 'yes' : 'no'}</>
  return <Foreign text={typeof value === 'string' ? value : JSON.stringify(value)} />
}
