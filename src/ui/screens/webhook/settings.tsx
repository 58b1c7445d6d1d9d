import { useState } from 'preact/hooks'
import type { Webhook } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction } from '../../lib/query.ts'
import { navigate } from '../../lib/router.ts'
import { FieldTable } from '../../parts/field-table.tsx'
import { Confirm, Field, onSubmit } from '../../parts/form.tsx'
import { Failed, Note } from '../../parts/messages.tsx'
import { Code, Foreign, Time } from '../../parts/text.tsx'
import { ValueText } from '../../parts/value-text.tsx'
import { bodyOf, WebhookFields } from '../../parts/webhook-fields.tsx'

interface SettingsProps {
  readonly path: string
  readonly webhook: Webhook
  readonly etag: string | null
  readonly onChanged: () => void
}
type Fields = ReturnType<typeof bodyOf>
const fieldNames = ['callback_url', 'event', 'description', 'retry_delays'] as const
const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
/** Returns the fields of `after` that differ from `before`. */
const changesOf = (before: Webhook, after: Fields): Partial<Fields> =>
  Object.fromEntries(fieldNames.filter((name) => !isSame(before[name], after[name])).map((name) => [name, after[name]]))

export function Settings({ path, webhook, etag, onChanged }: SettingsProps) {
  // The form keeps the state that the person saw, although the screen reads the webhook again and again.
  const [opened, setOpened] = useState({ webhook, etag })
  const [conflict, setConflict] = useState<{ mine: Partial<Fields>; theirs: Webhook; etag: string | null } | null>(null)
  const [isSaved, setSaved] = useState(false)
  const save = useAction(async (changes: Partial<Fields>, ifMatch: string | null) => {
    setSaved(false)
    try {
      const { body, etag: next } = await send<Webhook>('PATCH', path, { body: changes, ifMatch })
      setOpened({ webhook: body, etag: next })
      setConflict(null)
      setSaved(true)
      onChanged()
    } catch (error) {
      if ((error as { status?: number }).status !== 412) throw error
      const current = await send<Webhook>('GET', path)
      setConflict({ mine: changes, theirs: current.body, etag: current.etag })
    }
  })
  const takeTheirs = () => {
    if (conflict !== null) setOpened({ webhook: conflict.theirs, etag: conflict.etag })
    setConflict(null)
    onChanged()
  }
  return (
    <div class="pair">
      <form
        key={opened.etag}
        class="panel"
        onSubmit={onSubmit((values) => save.run(changesOf(opened.webhook, bodyOf(values)), opened.etag))}
        onInput={() => setSaved(false)}
      >
        <h2>Settings</h2>
        <WebhookFields webhook={opened.webhook} failure={save.failure} />
        {save.failure !== null && <Failed failure={save.failure} />}
        {isSaved && <Note tone="good">Saved. Attempts that are still to come use the new settings.</Note>}
        {conflict === null && (
          <div class="row">
            <button type="submit" class="primary" disabled={save.isRunning}>
              {save.isRunning ? 'Saving …' : 'Save'}
            </button>
          </div>
        )}
        {conflict !== null && (
          <Conflict
            opened={opened.webhook}
            {...conflict}
            isRunning={save.isRunning}
            keepMine={() => save.run(conflict.mine, conflict.etag)}
            takeTheirs={takeTheirs}
          />
        )}
      </form>
      <div class="stack">
        <Secret path={path} etag={etag} onChanged={onChanged} />
        <Deletion path={path} etag={etag} url={webhook.callback_url} />
      </div>
    </div>
  )
}

/** Shows what somebody else changed meanwhile, beside the changes that the person wanted to save. */
function Conflict(props: {
  opened: Webhook
  mine: Partial<Fields>
  theirs: Webhook
  isRunning: boolean
  keepMine: () => void
  takeTheirs: () => void
}) {
  const { opened, mine, theirs, isRunning, keepMine, takeTheirs } = props
  const rows = fieldNames.filter((name) => name in mine || !isSame(opened[name], theirs[name]))
  return (
    <div class="stack" role="alert">
      <Note tone="warn">
        <p>Somebody else changed this webhook while you edited it. Nothing of yours is saved yet.</p>
      </Note>
      <FieldTable
        columns={['When you began', 'Now', 'Yours']}
        names={rows}
        cellsOf={(name) => [
          <ValueText key="opened" value={opened[name]} />,
          <ValueText key="theirs" value={theirs[name]} />,
          name in mine ? <ValueText value={mine[name]} /> : <span class="soft">unchanged</span>,
        ]}
      />
      <div class="row">
        <button type="button" class="primary" disabled={isRunning} onClick={keepMine}>
          Save mine over it
        </button>
        <button type="button" onClick={takeTheirs}>
          Keep theirs
        </button>
      </div>
    </div>
  )
}

/** Says what a rotation does to the present secret. */
const rotationText = (hours: number): string =>
  hours === 0
    ? 'A new secret is made. The present one stops signing at once, so a receiver that verifies with it refuses every request until it has the new one.'
    : `A new secret is made, and signs every request from now on. The present one signs too for ${hours} ${hours === 1 ? 'hour' : 'hours'}. After that, a receiver that has only the present one refuses every request.`

function Secret({ path, etag, onChanged }: Pick<SettingsProps, 'path' | 'etag' | 'onChanged'>) {
  const [rotated, setRotated] = useState<Webhook | null>(null)
  const [hoursToConfirm, setHoursToConfirm] = useState<number | null>(null)
  const close = () => setHoursToConfirm(null)
  const rotate = useAction(async (hours: number) => {
    const body = { overlap_seconds: Math.round(hours * 3_600) }
    setRotated((await send<Webhook>('POST', `${path}/secret/rotate`, { body, ifMatch: etag })).body)
    close()
    onChanged()
  })
  return (
    <section class="panel">
      <h2>Secret</h2>
      <p class="soft">
        The secret signs every request. It is not shown again after its creation. When you rotate it, both secrets sign for a while, so that
        the receiver can change over.
      </p>
      {rotated === null ? (
        <form class="stack" onSubmit={onSubmit(({ overlap_hours = '' }) => setHoursToConfirm(Number(overlap_hours)))}>
          <Field
            label="Hours in which the former secret signs too"
            name="overlap_hours"
            type="number"
            min={0}
            max={168}
            required
            defaultValue={24}
          />
          <div class="row">
            <button type="submit">Rotate the secret …</button>
          </div>
        </form>
      ) : (
        <>
          <Note tone="warn">
            <p>
              Copy the new secret now: it is not shown again.
              {rotated.previous_secret_until !== null && rotated.previous_secret_until !== undefined && (
                <>
                  {' '}
                  The former one stops signing <Time at={rotated.previous_secret_until} />.
                </>
              )}
            </p>
          </Note>
          <Code text={rotated.secret ?? ''} label="the new secret" />
        </>
      )}
      {hoursToConfirm !== null && (
        <Confirm
          title="Rotate the secret?"
          word="Rotate"
          isDangerous
          action={rotate}
          confirm={() => rotate.run(hoursToConfirm)}
          close={() => {
            rotate.reset()
            close()
          }}
        >
          <p>{rotationText(hoursToConfirm)}</p>
        </Confirm>
      )}
    </section>
  )
}

function Deletion({ path, etag, url }: Pick<SettingsProps, 'path' | 'etag'> & { url: string }) {
  const [isOpen, setOpen] = useState(false)
  const deletion = useAction(async () => {
    await send('DELETE', path, { ifMatch: etag })
    navigate('/webhooks')
  })
  return (
    <section class="panel">
      <h2>Delete</h2>
      <p class="soft">A deleted webhook cannot come back. Its history stays readable. To stop it for a while, deactivate it instead.</p>
      <div class="row">
        <button type="button" class="risky" onClick={() => setOpen(true)}>
          Delete …
        </button>
      </div>
      {isOpen && (
        <Confirm
          title="Delete this webhook for good?"
          word="Delete"
          isDangerous
          action={deletion}
          confirm={() => deletion.run()}
          close={() => setOpen(false)}
        >
          <p class="break">
            Nothing more is sent to <strong>{<Foreign text={url} />}</strong>. Deliveries that are still to come are discarded.
          </p>
        </Confirm>
      )}
    </section>
  )
}
