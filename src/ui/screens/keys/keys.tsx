import { useState } from 'preact/hooks'
import type { Envelope, Key } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction, useAllPages } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { can } from '../../lib/session.ts'
import { useWebhooks } from '../../lib/webhooks.ts'
import { Choice, Dialog, DialogForm, Field } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Empty, Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { Table } from '../../parts/table.tsx'
import { Code, Foreign, Id, Time } from '../../parts/text.tsx'

type Opened = { readonly what: 'create' } | { readonly what: 'rotate' | 'delete' | 'value'; readonly key: Key }

/** The API keys, with which consumers manage their own webhooks. */
export function Keys() {
  const query = useAllPages<Key>('/v1/keys')
  const webhooks = useWebhooks()
  const [open, setOpen] = useState<Opened | null>(null)
  const close = () => setOpen(null)
  const countOf = (id: string) => webhooks.reply?.body.filter(({ key_id }) => key_id === id).length
  return (
    <Screen
      title="API keys"
      actions={
        can('write:keys') && (
          <button type="button" onClick={() => setOpen({ what: 'create' })}>
            <Icon name="plus" />
            New key
          </button>
        )
      }
    >
      <Loaded query={query}>
        {(keys) =>
          keys.length === 0 ? (
            <Empty title="There is no API key yet">
              <p>
                Give a consumer a key, and it manages its own webhooks with the header <code>x-api-key</code>. It sees only the webhooks
                that it created. Create one here, or on the machine of Kolbak:
              </p>
              <Code text="npm run -s kolbak -- keys create Shop --scopes read:webhooks,write:webhooks" label="the command" />
            </Empty>
          ) : (
            <KeysTable keys={keys} countOf={countOf} open={setOpen} />
          )
        }
      </Loaded>
      <Curl request="/v1/keys" />
      {open?.what === 'create' && <CreateKey close={close} onChanged={query.refresh} />}
      {open?.what === 'rotate' && <RotateKey target={open.key} close={close} onChanged={query.refresh} />}
      {open?.what === 'delete' && <DeleteKey target={open.key} close={close} onChanged={query.refresh} />}
      {open?.what === 'value' && (
        <Dialog title={`The key ${open.key.name}`} close={close}>
          <Code text={open.key.key} label="the key" />
          {open.key.key.includes('*') && <p class="soft">It is masked, because you lack one of its scopes.</p>}
          <div class="row end">
            <button type="button" onClick={close}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </Screen>
  )
}

function KeysTable(props: { keys: readonly Key[]; countOf: (id: string) => number | undefined; open: (opened: Opened) => void }) {
  const { keys, countOf, open: setOpen } = props
  return (
    <Table
      caption="API keys, newest first"
      columns={['Name', 'Key', ['May', 'wide'], ['Webhooks', 'wide'], ['Last used', 'broad'], can('write:keys') && 'Change']}
    >
      {keys.map((key) => (
        <tr key={key.id}>
          <td class="long">
            <strong>
              <Foreign text={key.name} />
            </strong>
            <br />
            <Id id={key.id} />
          </td>
          <td>
            <button type="button" class="quiet" onClick={() => setOpen({ what: 'value', key })}>
              <code>{key.key.slice(0, 4)}…</code> Show<span class="visually-hidden"> the key {key.name}</span>
            </button>
          </td>
          <td class="wide">{key.scopes.join(', ')}</td>
          <td class="wide">
            <a href={urlOf(`/webhooks?text=${key.id}`)}>{countOf(key.id) ?? '…'}</a>
          </td>
          <td class="broad nowrap">
            {key.last_accessed_at === null ? <span class="soft">never</span> : <Time at={key.last_accessed_at} />}
          </td>
          {can('write:keys') && (
            <td>
              <button type="button" class="quiet" onClick={() => setOpen({ what: 'rotate', key })} aria-label={`Rotate ${key.name}`}>
                Rotate
              </button>
              <button type="button" class="quiet risky" onClick={() => setOpen({ what: 'delete', key })} aria-label={`Delete ${key.name}`}>
                Delete
              </button>
            </td>
          )}
        </tr>
      ))}
    </Table>
  )
}

interface DialogProps {
  readonly close: () => void
  readonly onChanged: () => void
}
const Value = ({ value, close }: { value: string; close: () => void }) => (
  <>
    <Note tone="good">
      <p>Hand this key to its consumer, over a channel that you trust.</p>
    </Note>
    <Code text={value} label="the key" />
    <div class="row end">
      <button type="button" class="primary" onClick={close}>
        Done
      </button>
    </div>
  </>
)
const scopes = { both: ['read:webhooks', 'write:webhooks'], read: ['read:webhooks'] }

function CreateKey({ close, onChanged }: DialogProps) {
  const [value, setValue] = useState<string | null>(null)
  const create = useAction(async ({ name = '', description = '', may = 'both' }: Record<string, string>) => {
    const body = { name, ...(description === '' ? {} : { description }), scopes: may === 'read' ? scopes.read : scopes.both }
    setValue((await send<Envelope<Key>>('POST', '/v1/keys', { body })).body.data.key)
    onChanged()
  })
  return (
    <Dialog title="New API key" close={close}>
      {value !== null ? (
        <Value value={value} close={close} />
      ) : (
        <DialogForm action={create} word="Create" close={close}>
          <Field label="Name" name="name" required maxLength={255} hint="Who uses it." failure={create.failure} />
          <Field label="Description" name="description" maxLength={2000} hint="Optional." failure={create.failure} />
          <Choice label="It may" name="may" options={{ both: 'read and change its own webhooks', read: 'only read its own webhooks' }} />
        </DialogForm>
      )}
    </Dialog>
  )
}

function RotateKey({ target, close, onChanged }: DialogProps & { target: Key }) {
  const [value, setValue] = useState<string | null>(null)
  const rotate = useAction(async ({ hours = '24' }: Record<string, string>) => {
    const body = { overlap_seconds: Math.round(Number(hours) * 3_600) }
    setValue((await send<Envelope<Key>>('POST', `/v1/keys/${target.id}/rotate`, { body })).body.data.key)
    onChanged()
  })
  return (
    <Dialog title={`Rotate ${target.name}`} close={close}>
      {value !== null ? (
        <Value value={value} close={close} />
      ) : (
        <DialogForm action={rotate} word="Rotate" close={close}>
          <p>The key gets a new value, and keeps its webhooks.</p>
          <Field label="Hours in which the former value works too" name="hours" type="number" min={0} max={168} defaultValue={24} />
        </DialogForm>
      )}
    </Dialog>
  )
}

function DeleteKey({ target, close, onChanged }: DialogProps & { target: Key }) {
  const deletion = useAction(async ({ webhooks = 'keep' }: Record<string, string>) => {
    await send('DELETE', `/v1/keys/${target.id}?webhooks=${webhooks}`)
    onChanged()
    close()
  })
  return (
    <Dialog title={`Delete ${target.name}?`} close={close}>
      <DialogForm action={deletion} word="Delete" close={close} isDangerous>
        <p>It stops working within a second. This cannot be undone.</p>
        <Choice
          label="The webhooks that it created"
          name="webhooks"
          options={{ keep: 'stay as they are', deactivate: 'are deactivated' }}
        />
      </DialogForm>
    </Dialog>
  )
}
