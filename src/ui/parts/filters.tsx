import { useEffect, useState } from 'preact/hooks'
import { params, setParams } from '../lib/router.ts'
import { useWebhooks } from '../lib/webhooks.ts'
import { Choice } from './form.tsx'

/** A choice that is kept in a parameter of the URL. */
export const FilterChoice = ({ label, name, options }: { label: string; name: string; options: Readonly<Record<string, string>> }) => (
  <Choice
    label={label}
    name={name}
    options={options}
    value={params.value.get(name) ?? ''}
    onChange={(event) => setParams({ [name]: event.currentTarget.value, cursor: null })}
  />
)

/** A text that is kept in a parameter of the URL, and applies a moment after the last key. */
export function FilterText({ label, name, placeholder }: { label: string; name: string; placeholder?: string }) {
  const applied = params.value.get(name) ?? ''
  const [text, setText] = useState(applied)
  useEffect(() => setText(applied), [applied])
  useEffect(() => {
    if (text === applied) return
    const timer = setTimeout(() => setParams({ [name]: text.trim(), cursor: null }), 300)
    return () => clearTimeout(timer)
  }, [text, applied, name])
  return (
    <div class="field grow">
      <label>
        {label}
        <input type="search" value={text} placeholder={placeholder} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
    </div>
  )
}

/** A choice of a webhook. A webhook that was deleted is shown by its id. */
export function WebhookFilter() {
  const { reply } = useWebhooks()
  const chosen = params.value.get('webhook')
  const urls = (reply?.body ?? []).map(({ id, callback_url }) => [id, callback_url.replace(/^https?:\/\//, '').slice(0, 60)] as const)
  const others = chosen === null || urls.some(([id]) => id === chosen) ? [] : [[chosen, chosen] as const]
  return <FilterChoice label="Webhook" name="webhook" options={{ '': 'All', ...Object.fromEntries([...urls, ...others]) }} />
}

/** The time ranges, as options of a choice. */
export const rangeOptions = {
  '': 'At any time',
  '1h': 'In the last hour',
  '24h': 'In the last 24 hours',
  '7d': 'In the last 7 days',
  '30d': 'In the last 30 days',
}
