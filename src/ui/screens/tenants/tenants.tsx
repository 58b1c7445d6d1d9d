import { useState } from 'preact/hooks'
import type { Envelope, Tenant } from '../../../api/responses.ts'
import { send } from '../../lib/api.ts'
import { useAction, useAllPages } from '../../lib/query.ts'
import { urlOf } from '../../lib/router.ts'
import { Dialog, DialogForm, Field } from '../../parts/form.tsx'
import { Icon } from '../../parts/icon.tsx'
import { Loaded } from '../../parts/messages.tsx'
import { Curl, Screen } from '../../parts/screen.tsx'
import { Status } from '../../parts/status.tsx'
import { Table } from '../../parts/table.tsx'
import { Foreign, Id, Time } from '../../parts/text.tsx'

export const TenantState = ({ tenant }: { tenant: Tenant }) =>
  tenant.is_suspended ? <Status tone="warn" icon="pause" word="suspended" /> : <Status tone="good" icon="check" word="active" />

/** The accounts of the service. */
export function Tenants() {
  const query = useAllPages<Tenant>('/v1/tenants')
  const [isOpen, setOpen] = useState(false)
  return (
    <Screen
      title="Tenants"
      actions={
        <button type="button" onClick={() => setOpen(true)}>
          <Icon name="plus" />
          New tenant
        </button>
      }
    >
      <p class="soft">
        A tenant is an account with its own webhooks, keys and events. Customers who must not see each other are separate tenants.
      </p>
      <Loaded query={query}>
        {(tenants) => (
          <Table caption="Tenants, newest first" columns={['Name', 'State', 'Created']}>
            {tenants.map((tenant) => (
              <tr key={tenant.id}>
                <td class="long">
                  <a class="main" href={urlOf(`/tenants/${tenant.id}`)}>
                    <Foreign text={tenant.name} />
                  </a>
                  <br />
                  <Id id={tenant.id} />
                </td>
                <td>
                  <TenantState tenant={tenant} />
                </td>
                <td class="nowrap">
                  <Time at={tenant.created_at} />
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Loaded>
      <Curl request="/v1/tenants" />
      {isOpen && <CreateTenant close={() => setOpen(false)} onChanged={query.refresh} />}
    </Screen>
  )
}

function CreateTenant({ close, onChanged }: { close: () => void; onChanged: () => void }) {
  const create = useAction(async ({ name = '' }: Record<string, string>) => {
    await send<Envelope<Tenant>>('POST', '/v1/tenants', { body: { name } })
    onChanged()
    close()
  })
  return (
    <Dialog title="New tenant" close={close}>
      <DialogForm action={create} word="Create" close={close}>
        <Field label="Name" name="name" required maxLength={255} failure={create.failure} />
      </DialogForm>
    </Dialog>
  )
}
