import { useState } from 'preact/hooks'
import type { Delivery, Page, Version, Webhook } from '../../../api/responses.ts'
import { useQuery } from '../../lib/query.ts'
import { params, setParams, urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { FieldTable } from '../../parts/field-table.tsx'
import { Icon, type IconName } from '../../parts/icon.tsx'
import { Loaded } from '../../parts/messages.tsx'
import { Id, Time } from '../../parts/text.tsx'
import { actorText, ValueChange, ValueText } from '../../parts/value-text.tsx'
import { Axis } from './axis.tsx'
import { differencesOf, Restore, restorationsOf, restored, settingsBefore } from './restore.tsx'

const kinds: Readonly<Record<string, { word: string; icon: IconName; tone: string }>> = {
  WebhookCreated: { word: 'Created', icon: 'plus', tone: 'good' },
  WebhookChanged: { word: 'Changed', icon: 'dot', tone: '' },
  WebhookSecretRotated: { word: 'Secret rotated', icon: 'key', tone: '' },
  WebhookActivated: { word: 'Activated', icon: 'play', tone: 'good' },
  WebhookDeactivated: { word: 'Deactivated', icon: 'pause', tone: 'warn' },
  WebhookDeleted: { word: 'Deleted', icon: 'cross', tone: 'bad' },
}
const kindOf = (type: string) => kinds[type] ?? { word: type, icon: 'dot' as const, tone: '' }

interface HistoryProps {
  readonly path: string
  /** The webhook as it is today, or null if it was deleted. */
  readonly webhook: Webhook | null
  readonly etag: string | null
  readonly onChanged: () => void
}
/** The past of a webhook: its revisions beside its deliveries, and the state at each revision. */
export function History({ path, webhook, etag, onChanged }: HistoryProps) {
  const query = useQuery<Page<Version>>(`${path}/history?limit=100`)
  const deliveries = useQuery<Page<Delivery>>(webhook === null ? null : `${path}/deliveries?limit=100`)
  return (
    <Loaded query={query}>
      {({ data: versions, pagination }) => {
        const latest = versions.at(-1)
        const revisionInUrl = params.value.get('revision')
        const chosen = versions.find(({ revision }) => String(revision) === revisionInUrl) ?? latest
        if (latest === undefined || chosen === undefined) return null
        const step = (by: number) => setParams({ revision: String(Math.min(latest.revision, Math.max(0, chosen.revision + by))) })
        const refresh = () => {
          query.refresh()
          onChanged()
        }
        return (
          <>
            <Axis versions={versions} deliveries={deliveries.reply?.body.data ?? []} chosen={chosen.revision} />
            {pagination?.next_cursor !== null && <p class="faint">Only the first 100 revisions are shown.</p>}
            <div class="split">
              <section class="stack">
                <div class="row between">
                  <h2>Revisions</h2>
                  <div class="row">
                    <button type="button" class="quiet" data-key="[" disabled={chosen.revision === 0} onClick={() => step(-1)}>
                      Older
                    </button>
                    <button type="button" class="quiet" data-key="]" disabled={chosen === latest} onClick={() => step(1)}>
                      Newer
                    </button>
                  </div>
                </div>
                <Revisions versions={versions} chosen={chosen} path={path} />
              </section>
              <RevisionView
                key={chosen.revision}
                path={path}
                version={chosen}
                webhook={webhook}
                etag={etag}
                isLatest={chosen === latest}
                onChanged={refresh}
              />
            </div>
          </>
        )
      }}
    </Loaded>
  )
}

function Revisions({ versions, chosen, path }: { versions: readonly Version[]; chosen: Version; path: string }) {
  const restorations = restorationsOf(versions)
  const items = versions.toReversed().map((version) => {
    const { word, icon, tone } = kindOf(version.type)
    const fields = Object.keys(version.changes).filter(() => version.type === 'WebhookChanged')
    const restoredRevision = restorations.get(version.revision)
    return (
      <li key={version.revision} class={tone}>
        <Icon name={icon} />
        <div>
          <a
            class="attempt"
            href={urlOf(`${path.slice('/v1'.length)}?tab=history&revision=${version.revision}`)}
            aria-current={version === chosen ? 'true' : undefined}
          >
            <strong>
              {version.revision}. {word}
            </strong>
            {fields.length > 0 && `: ${fields.join(', ')}`}
            <br />
            <span class="faint">
              <Time at={version.time} isExact /> by {actorText(version.actor)}
            </span>
            {restoredRevision !== undefined && (
              <>
                <br />
                <span class="faint">Same as revision {restoredRevision}</span>
              </>
            )}
          </a>
        </div>
      </li>
    )
  })
  return <ol class="timeline">{items}</ol>
}

interface RevisionViewProps extends HistoryProps {
  readonly version: Version
  readonly isLatest: boolean
}
/** Shows the change that made a revision, the state after it, and the state of today. */
function RevisionView({ path, version, webhook, etag, isLatest, onChanged }: RevisionViewProps) {
  const isDeletion = version.type === 'WebhookDeleted'
  const query = useQuery<Webhook>(isDeletion ? null : `${path}?revision=${version.revision}`)
  const { word } = kindOf(version.type)
  const changes = Object.entries(version.changes)
  const [isUndoing, setUndoing] = useState(false)
  const before = settingsBefore(version)
  const canUndo = isLatest && webhook !== null && version.type === 'WebhookChanged' && Object.keys(before).length > 0
  return (
    <section class="stack">
      <div class="panel">
        <h2>
          Revision {version.revision}: {word}
        </h2>
        <p>
          By <strong>{actorText(version.actor)}</strong>, <Time at={version.time} isExact withMs />. Request{' '}
          <Id id={version.correlation_id} />
        </p>
        {changes.length > 0 && version.type !== 'WebhookCreated' && (
          <ul class="list">
            {changes.map(([field, { from, to }]) => (
              <li key={field}>
                <code>{field}</code>
                <span class="break">
                  <ValueChange from={from} to={to} />
                </span>
              </li>
            ))}
          </ul>
        )}
        {canUndo && can('write:webhooks') && (
          <div class="row">
            <button type="button" onClick={() => setUndoing(true)}>
              Undo this change
            </button>
          </div>
        )}
        {isUndoing && webhook !== null && (
          <Restore
            title="Undo this change?"
            word="Undo"
            path={path}
            target={before}
            today={webhook}
            etag={etag}
            close={() => setUndoing(false)}
            onChanged={onChanged}
          />
        )}
      </div>
      {!isDeletion && (
        <Loaded query={query}>
          {(then) => (
            <Comparison
              then={then}
              today={webhook}
              path={path}
              etag={etag}
              isLatest={isLatest}
              revision={version.revision}
              onChanged={onChanged}
            />
          )}
        </Loaded>
      )}
    </section>
  )
}

function Comparison(props: {
  then: Webhook
  today: Webhook | null
  path: string
  etag: string | null
  isLatest: boolean
  revision: number
  onChanged: () => void
}) {
  const { then, today, path, etag, isLatest, revision, onChanged } = props
  const [isOpen, setOpen] = useState(false)
  const differing = today === null ? [] : differencesOf(then, today)
  return (
    <>
      <FieldTable
        caption={`The webhook at revision ${revision} and today`}
        columns={['Then', 'Today']}
        names={restored}
        cellsOf={(name) => [
          <ValueText key="then" value={then[name]} />,
          today === null ? (
            <span class="soft">deleted</span>
          ) : differing.includes(name) ? (
            <strong>
              <ValueText value={today[name]} />
            </strong>
          ) : (
            <span class="soft">the same</span>
          ),
        ]}
      />
      {!isLatest && today !== null && can('write:webhooks') && (
        <div class="row">
          <button type="button" disabled={differing.length === 0} onClick={() => setOpen(true)}>
            Restore revision {revision}
          </button>
          {differing.length === 0 && <span class="soft">Today is the same.</span>}
        </div>
      )}
      {isOpen && today !== null && (
        <Restore
          title={`Restore revision ${revision}?`}
          word="Restore"
          path={path}
          target={then}
          today={today}
          etag={etag}
          close={() => setOpen(false)}
          onChanged={onChanged}
        />
      )}
    </>
  )
}
