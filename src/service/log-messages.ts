import { ulid } from 'ulid'
import { sealMessage } from '../api/seal-message.ts'
import type { MessageId } from '../events/ids.ts'
import { logHeadEvent } from '../events/log.ts'
import { step } from '../events/steps.ts'
import { uuidV5 } from '../events/uuid.ts'
import { openLogSigner } from '../lib/log-signer.ts'
import { consistencyProof } from '../lib/merkle.ts'
import { keepRunning, pause } from '../lib/retry.ts'
import { inSnapshot, sqlOn } from '../lib/sql.ts'
import { untilPoll } from '../lib/wake.ts'
import { readLogNodes } from '../projections/audit.ts'
import { type KeptHead, listHeads, type Subscriber, storeSentHead, subscribersOfHeads } from '../projections/log-heads.ts'
import type { Shared } from './shared.ts'

/** Milliseconds between two searches for tenants that are to get a head. */
const lookMs = 30_000

/**
 * Sends the newest head of the audit log as an ordinary message to each tenant with a webhook that names it. A tenant gets at most one message in
 * KOLBAK_LOG_SEND_SECONDS, and none while the log has not grown. The message has a proof that the log extends the head of the message before it, so each
 * subscriber is a witness. One process at a time sends.
 */
export function startLogMessages(shared: Shared): void {
  const { pools, leases, keyring, config, parts, log } = shared
  const sendMs = config.KOLBAK_LOG_SEND_SECONDS * 1_000
  const stopping = new AbortController()

  const sendAll = async () => {
    const { vkey } = await openLogSigner(keyring)
    const [head] = await listHeads(sqlOn(pools.reads), 1)
    if (head === undefined || !vkey.startsWith(`${head.origin}+`)) return
    for (const subscriber of await subscribersOfHeads(pools.reads, sendMs)) {
      if (stopping.signal.aborted) return
      if (subscriber.note === head.note) continue
      // A failure of one tenant, whose keys may be destroyed, must not prevent the other tenants from getting the head.
      await send(shared, head, vkey, subscriber).catch((error: unknown) =>
        log.warn({ error, tenant: subscriber.tenant }, 'log.send_failed'),
      )
    }
  }
  const run = async () => {
    await pause(untilPoll(Math.min(sendMs, lookMs)), stopping.signal)
    if (stopping.signal.aborted || (await subscribersOfHeads(pools.reads, sendMs)).length === 0) return
    const lease = await leases.take('log messages')
    if (lease !== null) await sendAll().finally(() => lease.release())
  }
  const running = keepRunning(run, { signal: stopping.signal, onError: (error) => log.warn({ error }, 'log.send_failed') })
  parts.add('log messages', async () => {
    stopping.abort()
    await running
  })
}

/** Sends a head to a tenant. */
async function send({ bus, pools, keyring }: Shared, head: KeptHead, vkey: string, { tenant, previous }: Subscriber): Promise<void> {
  // After a declared loss the log has another name, and its heads do not extend those of the former one.
  const from = previous !== null && previous.origin === head.origin && previous.size <= head.size ? previous : null
  const path = from === null ? [] : await inSnapshot(pools.reads, (sql) => consistencyProof(readLogNodes(sql), from.size, head.size))
  const payload = {
    note: `${head.note}${head.cosignatures ?? ''}`,
    key: vkey,
    previous_size: from?.size ?? 0,
    consistency: path.map((hash) => hash.toString('base64')),
  }
  // The id follows from the head. So if this process dies before it notes the head as sent, the tenant does not get a second message.
  const id = `evt_${uuidV5('log head', head.origin, String(head.size))}` as MessageId
  const accepted_at = new Date().toISOString()
  const vault = await keyring.vault(tenant)
  const content = { event: logHeadEvent, event_time: head.signed_at, source: 'kolbak' }
  const message = sealMessage(vault, tenant, id, content, Buffer.from(JSON.stringify(payload)))
  const by = { actor: 'system:log', request_id: ulid() }
  await step('log.send', () => bus.produce({ tenant, accepted_at, correlation_id: id, by, messages: [message] }))
  await storeSentHead(pools.reads, tenant, head.note)
}
