import { useState } from 'preact/hooks'
import type { Client, Envelope, Tenant as TenantData } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { type Query, useAction, useAllPages, useQuery } from '../../lib/query.ts'
import { Choice, Confirm, Dialog, DialogForm, Field } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Loaded, Note } from '../../parts/messages.tsx'
import { Curl, Facts, Screen } from '../../parts/screen.tsx'
import { Table } from '../../parts/table.tsx'
import { Code, Foreign, Id, Time } from '../../parts/text.tsx'
import { TenantState } from '../tenants/tenants.tsx'

const grants: Readonly<Record<string, readonly string[]>> = {
  all: ['read:keys', 'write:keys', 'read:webhooks', 'write:webhooks', 'read:events', 'write:events', 'read:audit'],
  produce: ['write:events', 'read:events'],
  read: ['read:keys', 'read:webhooks', 'read:events', 'read:audit'],
}

/** One tenant: its limits, and the clients that act for it. */
export function Tenant({ id }: { id: string }) {
  const path = `/v1/tenants/${encodeURIComponent(id)}`
  const query = useQuery<Envelope<TenantData>>(path)
  const clients = useAllPages<Client>(`${path}/clients`)
  const [open, setOpen] = useState<'suspension' | 'client' | Client | null>(null)
  const tenant = query.reply?.body.data
  const suspension = useAction(async () => {
    await send('POST', `${path}/${tenant?.is_suspended === true ? 'resume' : 'suspend'}`)
    setOpen(null)
    query.refresh()
  })
  const revocation = useAction(async (client: Client) => {
    await send('DELETE', `${path}/clients/${encodeURIComponent(client.client_id)}`)
    setOpen(null)
    clients.refresh()
  })
  return (
    <Screen
      title={tenant?.name ?? 'Tenant'}
      above={{ title: 'Tenants', screen: '/tenants' }}
      actions={
        tenant !== undefined && (
          <>
            <button type="button" onClick={() => setOpen('suspension')}>
              <Icon name={tenant.is_suspended ? 'play' : 'pause'} />
              {tenant.is_suspended ? 'Resume' : 'Suspend'}
            </button>
            <button type="button" onClick={() => setOpen('client')}>
              <Icon name="plus" />
              New client
            </button>
          </>
        )
      }
    >
      <Loaded query={query}>
        {({ data }) => (
          <Facts
            facts={[
              ['State', <TenantState tenant={data} />],
              ['Id', <Id id={data.id} />],
              ['Created', <Time at={data.created_at} isExact />],
              ['Webhooks at most', data.limits.webhooks ?? 'default'],
              ['Events a second', data.limits.events_per_second ?? 'default'],
              ['Requests a second', data.limits.requests_per_second ?? 'default'],
            ]}
          />
        )}
      </Loaded>
      <section class="stack">
        <h2>Clients</h2>
        <Clients query={clients} revoke={setOpen} />
      </section>
      <Curl request={path} />
      {open === 'client' && <IssueClient path={path} close={() => setOpen(null)} onChanged={clients.refresh} />}
      {open === 'suspension' && tenant !== undefined && (
        <Confirm
          title={tenant.is_suspended ? `Resume ${tenant.name}?` : `Suspend ${tenant.name}?`}
          word={tenant.is_suspended ? 'Resume' : 'Suspend'}
          isDangerous={!tenant.is_suspended}
          action={suspension}
          confirm={() => suspension.run()}
          close={() => setOpen(null)}
        >
          <p>
            {tenant.is_suspended
              ? 'Its clients and keys work again, and the deliveries that waited are sent.'
              : 'Nothing is accepted for it, and its deliveries wait until you resume it.'}
          </p>
        </Confirm>
      )}
      {typeof open === 'object' && open !== null && (
        <Confirm
          title={`Revoke ${open.name}?`}
          word="Revoke"
          isDangerous
          action={revocation}
          confirm={() => revocation.run(open)}
          close={() => setOpen(null)}
        >
          <p>Its secret and its tokens stop working within a second. This cannot be undone.</p>
        </Confirm>
      )}
    </Screen>
  )
}

const Clients = ({ query, revoke }: { query: Query<readonly Client[]>; revoke: (client: Client) => void }) => (
  <Loaded query={query}>
    {(clients) =>
      clients.length === 0 ? (
        <Note>
          <p>Nobody can act for this tenant yet: issue a client.</p>
        </Note>
      ) : (
        <Table caption="Clients, newest first" columns={['Name', ['May', 'broad'], 'Change']}>
          {clients.map((client) => (
            <tr key={client.client_id}>
              <td class="long">
                <strong>
                  <Foreign text={client.name} />
                </strong>
                <br />
                <Id id={client.client_id} />
              </td>
              <td class="long broad">{client.scopes.join(', ')}</td>
              <td>
                <button type="button" class="quiet risky" onClick={() => revoke(client)} aria-label={`Revoke ${client.name}`}>
                  Revoke
                </button>
              </td>
            </tr>
          ))}
        </Table>
      )
    }
  </Loaded>
)

function IssueClient({ path, close, onChanged }: { path: string; close: () => void; onChanged: () => void }) {
  const [issued, setIssued] = useState<Client | null>(null)
  const issue = useAction(async ({ name = '', may = 'all' }: Record<string, string>) => {
    setIssued((await send<Envelope<Client>>('POST', `${path}/clients`, { body: { name, scopes: grants[may] } })).body.data)
    onChanged()
  })
  return (
    <Dialog title="New client" close={close}>
      {issued !== null ? (
        <>
          <Note tone="warn">
            <p>Copy the secret now. It is not shown again.</p>
          </Note>
          <Code text={`client_id      ${issued.client_id}\nclient_secret  ${issued.client_secret ?? ''}`} label="the credentials" />
          <div class="row end">
            <button type="button" class="primary" onClick={close}>
              Done
            </button>
          </div>
        </>
      ) : (
        <DialogForm action={issue} word="Issue" close={close}>
          <Field label="Name" name="name" required maxLength={255} hint="The system or the person that uses it." failure={issue.failure} />
          <Choice
            label="It may"
            name="may"
            options={{ all: 'do everything in this account', produce: 'post and read events', read: 'only read' }}
          />
        </DialogForm>
      )}
    </Dialog>
  )
}
