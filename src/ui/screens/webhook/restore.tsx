import type { Version, Webhook } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction } from '../../lib/query.ts'
import { setParams } from '../../lib/router.ts'
import { FieldTable } from '../../parts/field-table.tsx'
import { Confirm } from '../../parts/form.tsx'
import { Curl } from '../../parts/screen.tsx'
import { ValueText } from '../../parts/value-text.tsx'

/** The fields that a restoration sets. Secrets are never restored. */
export const restored = ['callback_url', 'event', 'description', 'retry_delays', 'is_active'] as const
type Settings = Readonly<Partial<Record<(typeof restored)[number], unknown>>>

const isSame = (a: unknown, b: unknown) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null)
/** Returns the fields in which two states of a webhook differ. */
export const differencesOf = (a: Settings, b: Settings) => restored.filter((name) => !isSame(a[name], b[name]))
/** Returns the values that the fields of a restoration had before a change. */
export const settingsBefore = ({ changes }: Version): Settings =>
  Object.fromEntries(restored.filter((name) => name in changes).map((name) => [name, changes[name]?.from ?? null]))

/**
 * Returns, for each revision that put the settings back to a former state, the revision that had made that state. A restoration is stored as an
 * ordinary change, so the states tell. The revisions must begin with the creation.
 */
export function restorationsOf(versions: readonly Version[]): ReadonlyMap<number, number> {
  const restorations = new Map<number, number>()
  const makers = new Map<string, number>()
  let settings: Settings = {}
  let current = ''
  for (const { revision, type, changes } of versions) {
    if (type === 'WebhookDeleted') break
    settings = { ...settings, ...Object.fromEntries(restored.filter((name) => name in changes).map((name) => [name, changes[name]?.to])) }
    const state = JSON.stringify(restored.map((name) => settings[name] ?? null))
    const maker = makers.get(state)
    if (state !== current && maker !== undefined) restorations.set(revision, maker)
    if (state !== current) makers.set(state, revision)
    current = state
  }
  return restorations
}

interface RestoreProps {
  readonly title: string
  readonly word: string
  readonly path: string
  /** The values that the webhook gets. The other fields stay. */
  readonly target: Settings
  readonly today: Webhook
  readonly etag: string | null
  readonly close: () => void
  readonly onChanged: () => void
}
/** Shows each value that a restoration sets, beside the value of now, and sets them as a new change. */
export function Restore({ title, word, path, target, today, etag, close, onChanged }: RestoreProps) {
  const differing = differencesOf({ ...today, ...target }, today)
  const body = Object.fromEntries(differing.map((name) => [name, target[name]]))
  const restore = useAction(async () => {
    await send('PATCH', path, { body, ifMatch: etag })
    close()
    setParams({ revision: null })
    onChanged()
  })
  return (
    <Confirm title={title} word={word} isReady={differing.length > 0} action={restore} confirm={() => restore.run()} close={close}>
      {differing.length === 0 ? (
        <p>The webhook has these values already.</p>
      ) : (
        <FieldTable
          caption="The values that change"
          columns={['Now', 'After']}
          names={differing}
          cellsOf={(name) => [
            <ValueText key="now" value={today[name]} />,
            <strong key="after">
              <ValueText value={target[name]} />
            </strong>,
          ]}
        />
      )}
      <p>This is a new change: nothing of the past is rewritten, and the secret stays as it is.</p>
      <Curl method="PATCH" request={path} body={body} />
    </Confirm>
  )
}
