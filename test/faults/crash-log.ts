import { openHead } from '../../src/lib/log-signer.ts'
import { isConsistent } from '../../src/lib/merkle.ts'
import type { Receiver } from '../support/receiver.ts'
import type { Client, WebhookResponse } from '../support/service-client.ts'

/** The payload of a message with a head of the audit log. */
interface HeadPayload {
  readonly note: string
  readonly key: string
  readonly previous_size: number
  readonly consistency: readonly string[]
}
type Call = <T>(method: string, path: string, body?: unknown) => Promise<{ status: number; body: T }>

/** The part of a load that uses the audit log: it erases tenants, and receives the heads of the log. */
export interface LogLoad {
  /** The webhook that gets the heads of the log. */
  readonly subscriber: string
  /** The tenants whose erasure got a 200 or 202. */
  readonly erasures: readonly string[]
  heads(): HeadPayload[]
  /** Creates a tenant, suspends it and erases it. */
  eraseTenant(call: Call): Promise<void>
}

export async function startLogLoad(api: Client, receiver: Receiver, round: number): Promise<LogLoad> {
  const path = `/heads-${round}`
  const { id } = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event: 'kolbak.log.head' })
  const erasures: string[] = []
  let tenants = 0
  return {
    subscriber: id,
    erasures,
    heads: () => receiver.received(path).map(({ body }) => body.payload as unknown as HeadPayload),
    async eraseTenant(call) {
      const created = await call<{ data: { id: string } }>('POST', '/v1/tenants', { name: `tenant ${round}.${tenants++}` })
      if (created.status !== 201) return
      const tenant = created.body.data.id
      await call('POST', `/v1/tenants/${tenant}/suspend`)
      const { status } = await call('DELETE', `/v1/tenants/${tenant}`, { confirm: tenant })
      if (status === 200 || status === 202) erasures.push(tenant)
    },
  }
}

/** Returns how the service disagrees with the load: an erasure is not completed, a head is not signed by the witness, or heads contradict one another. */
export async function logProblems(api: Client, load: LogLoad): Promise<string[]> {
  const problems: string[] = []
  for (const id of load.erasures) {
    const { data } = await api.get<{ data: { erased_at: string | null } }>(`/v1/tenants/${id}`)
    if (data.erased_at === null) problems.push(`the tenant ${id} is not erased`)
  }
  const { data: log } = await api.get<{ data: { cosigned: string | null } }>('/v1/log')
  if (log.cosigned === null) problems.push('no head is signed by the witness')
  const heads = load.heads()
  if (heads.length === 0) problems.push('the subscriber has no head')
  const opened = heads.map(({ note, key }) => openHead(note, key))
  if (opened.includes(null)) problems.push('a head that the subscriber got is not signed')
  const bySize = new Map(opened.flatMap((head) => (head === null ? [] : [[head.size, head] as const])))
  for (const { note, key, previous_size, consistency } of heads) {
    const [head, previous] = [openHead(note, key), bySize.get(previous_size)]
    // The head before the first one of this webhook went to the webhook of another load.
    if (head === null || previous === undefined) continue
    const proof = consistency.map((hash) => Buffer.from(hash, 'base64'))
    if (!isConsistent(previous, head, proof)) problems.push(`the head of ${head.size} does not extend the one of ${previous_size}`)
  }
  return problems
}
