import { replay } from '../../src/commands/replay.ts'
import type { WebhookCommand } from '../../src/commands/webhook.ts'
import { deliveryId } from '../../src/events/delivery-id.ts'
import type { Checkpoint } from '../../src/events/envelope.ts'
import { erasureId } from '../../src/events/erasure.ts'
import { defaultsOf } from '../../src/events/fields.ts'
import type { EventId, MessageId, TenantId, WebhookId } from '../../src/events/ids.ts'
import type { MessageRecord } from '../../src/events/message-record.ts'
import { messageRefOf } from '../../src/events/refs.ts'
import { bodyAad } from '../../src/events/sealed-fields.ts'
import { erasureStream, tenantStream, webhookStream } from '../../src/events/streams.ts'
import { webhookFields } from '../../src/events/webhook.ts'
import { untilDone } from '../../src/lib/retry.ts'
import type { Hook, Step } from './plan.ts'
import { indexKey } from './tables.ts'
import { keyring, type World } from './world.ts'

const ulid = (end: string) => end.padStart(26, '0')
export const tenantOf = (hook: Hook): TenantId => ulid(hook === 'C' ? '2' : '1') as TenantId
export const webhookOf = (hook: Hook): WebhookId => ulid(hook) as WebhookId
export const hostOf = (hook: Hook): string => `${hook.toLowerCase()}.test`
const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
const timestamp = () => new Date(Date.now()).toISOString()
const untilSuccess = <T>(work: () => Promise<T>) => untilDone(work, { onError() {} })
/** Returns the ids that a record's messages have in one tenant. All tenants post the same messages, so each id contains its tenant. */
const messagesOf = (tenant: TenantId, ids: readonly string[]) => ids.map((id) => `${id}_${tenant.at(-1)}` as MessageId)
export const bodyOf = (message: string, content: string) => JSON.stringify({ id: message, payload: content })

/** Carries out a command on a webhook through the real handler, then waits as the API does before its 201. */
async function change(world: World, hook: Hook, command: WebhookCommand, commandId: string): Promise<Checkpoint | null> {
  const { code, events } = world
  const isCreation = command.type === 'CreateWebhook'
  const context = {
    caller: { tenant: tenantOf(hook), actor: 'client:model' as const, scopes: new Set<never>(), key_id: null },
    correlation_id: commandId,
    commandId: commandId as EventId,
    now: timestamp(),
    ...(isCreation ? { create: true } : {}),
  }
  const streams = code.commandStreams.createCommandStreams(events, keyring, { macs: code.macs })
  try {
    const handleOnce = () =>
      code.handler.handle(streams, code.webhookCommands.webhookDecider, webhookStream(webhookOf(hook)), command, context)
    const handled = await untilDone(handleOnce, { onError() {}, isFinal: (error) => (error as { code?: string }).code === 'not_found' })
    return isCreation ? handled.position : null
  } catch {
    return null // The webhook does not exist, or is deleted.
  }
}
export async function create(world: World, step: Extract<Step, { kind: 'create' }>): Promise<void> {
  const { hook } = step
  const [id, tenant] = [webhookOf(hook), tenantOf(hook)]
  const callback_url = `https://${hostOf(hook)}/old`
  const fields = { key_id: null, callback_url, event: 'order.*', secret, ...defaultsOf(webhookFields) }
  const position = await change(world, hook, { type: 'CreateWebhook', id, tenant, ...fields }, `create-${hook}`)
  if (position === null) return
  const effect = () => world.tables.webhooks.has(id)
  const hasIt = () => untilSuccess(() => world.simulation.call({ engine: 'postgres', name: 'webhook?', quiet: true, effect }))
  let isThere = await hasIt()
  for (let tries = 0; tries < 4 && !isThere; tries++) {
    await sleep(50)
    isThere = await hasIt()
  }
  // The 201 is sent while the read model is behind, so the change is noted first.
  if (!isThere) await untilSuccess(() => world.code.acknowledged.noteAcknowledgedChange(world.postgres.pool(), position))
  world.truth.created.set(id, { tenant, at: world.simulation.now })
  if (step.thenPost === undefined) return
  const { by: processName } = step
  await post(world, {
    at: 0,
    kind: 'post',
    messages: [step.thenPost],
    content: 'x',
    ...(processName === undefined ? {} : { by: processName }),
  })
}
export async function command(world: World, step: Extract<Step, { kind: 'change' | 'activate' | 'deactivate' | 'delete' }>): Promise<void> {
  const { hook, kind, at } = step
  const commands: Readonly<Record<typeof kind, WebhookCommand>> = {
    change: { type: 'ChangeWebhook', callback_url: `https://${hostOf(hook)}/new` },
    activate: { type: 'ChangeWebhook', is_active: true },
    deactivate: { type: 'ChangeWebhook', is_active: false },
    delete: { type: 'DeleteWebhook' },
  }
  await change(world, hook, commands[kind], `${kind}-${hook}-${at}`)
}
/** Suspends or resumes the tenant of webhook C. */
export function suspend(world: World, is_suspended: boolean): void {
  const tenant = tenantOf('C')
  writeTenantEvent(world, tenant, is_suspended ? 'TenantSuspended' : 'TenantResumed', { id: tenant })
}
function writeTenantEvent(world: World, tenant: TenantId, type: string, data: object): void {
  const metadata = { schema: 1, actor: 'system:model' as const, tenant, time: timestamp(), $correlationId: type, $causationId: null }
  const stream = tenantStream(tenant)
  const event = { id: `${type}${world.simulation.now}` as EventId, type, data, metadata }
  const mac = world.code.macs.macOf({ ...event, stream, revision: world.events.lengthOf(stream) })
  world.events.write(stream, [{ ...event, metadata: { ...metadata, mac } }], 'any')
}
/** Forbids the erasure of payloads of a tenant. */
export function hold(world: World, { hook }: Extract<Step, { kind: 'hold' }>): void {
  const tenant = tenantOf(hook)
  writeTenantEvent(world, tenant, 'TenantRegistered', { id: tenant, name: 'held' })
  writeTenantEvent(world, tenant, 'TenantHeld', { id: tenant, hold: { reason: 'a lawsuit', until: null } })
  world.truth.held.add(tenant)
}
/** Simulates `DELETE /v1/events/:id/payload`. */
export async function eraseMessage(world: World, step: Extract<Step, { kind: 'erase' }>): Promise<void> {
  const { code, events, tables, truth } = world
  const tenant = tenantOf(step.hook)
  const message = messagesOf(tenant, [step.message])[0]!
  const row = tables.index.get(indexKey(tenant, message))
  if (row === undefined) return
  const wasHeld = truth.held.has(tenant)
  const ref = messageRefOf(row)
  const streams = code.commandStreams.createCommandStreams(events, keyring, { macs: code.macs })
  const commandId = `erase-${message}`
  const caller = { tenant, actor: 'client:model' as const, scopes: new Set<never>(), key_id: null }
  const context = { caller, correlation_id: commandId, commandId: commandId as EventId, now: timestamp(), create: true }
  const ask = async () => {
    await code.erasure.refuseIfHeld(streams, tenant, timestamp())
    await code.handler.handle(
      streams,
      code.erasure.erasureDecider,
      erasureStream(erasureId(ref)),
      { type: 'AskPayloadErasure', message: ref },
      context,
    )
  }
  const isRefused = (error: unknown) => ['on_hold', 'already_exists'].includes(String((error as { code?: string }).code))
  try {
    await untilDone(ask, { onError() {}, isFinal: isRefused })
    if (wasHeld) world.violate('hold', `the payload of ${message} is erased in spite of a legal hold`)
  } catch (error) {
    if (!wasHeld && !truth.held.has(tenant)) throw error
  }
}
/** Simulates `POST /v1/events` of one record by each tenant. A caller gives up after its second try. */
export async function post(world: World, step: Extract<Step, { kind: 'post' }>): Promise<void> {
  const tenants = step.target === undefined ? [tenantOf('A'), tenantOf('C')] : [tenantOf(step.target)]
  await Promise.all(tenants.map((tenant) => postOf(world, tenant, step)))
}
/** Produces a record in this process, or in the dispatcher that the step names. A post to a dispatcher that does not run fails. */
async function produce({ bus, simulation, producers }: World, record: MessageRecord, { by, isTwice }: Extract<Step, { kind: 'post' }>) {
  const life = by === undefined ? undefined : simulation.lifeOf(by)
  if (life === undefined) return bus.produce(record, isTwice)
  if (!life.alive) throw new Error('the connection was refused')
  return new Promise((resolve, reject) => {
    simulation.resume({ simulation, life }, () => void producers.get(life.name)!.produce(record).then(resolve, reject))
  })
}
async function postOf(world: World, tenant: TenantId, step: Extract<Step, { kind: 'post' }>): Promise<void> {
  const ids = messagesOf(tenant, step.messages)
  for (const key of ids.map((id) => indexKey(tenant, id)))
    if (!world.truth.firstPosted.has(key)) world.truth.firstPosted.set(key, world.simulation.now)
  const { content } = step
  const vault = await keyring.vault(tenant)
  const target = step.target === undefined ? undefined : webhookOf(step.target)
  const record = {
    tenant,
    accepted_at: timestamp(),
    correlation_id: 'post',
    messages: ids.map((id) => {
      const sealedBody = vault.seal(bodyAad(tenant, id), Buffer.from(bodyOf(id, content)))
      return { id, event: 'order.created', event_time: null, source: null, fingerprint: content, sealedBody }
    }),
    ...(target === undefined ? {} : { target }),
  }
  for (let tries = 0; tries < 2; tries++)
    try {
      await produce(world, record, step)
      for (const message of ids) world.truth.accepted.push({ tenant, message, content, fingerprint: content, target: target ?? null })
      return
    } catch {
      await sleep(50)
    }
}
/** Simulates `POST /v1/deliveries/:id/replay`. */
export async function replayDelivery(world: World, step: Extract<Step, { kind: 'replay' }>): Promise<void> {
  const { hook } = step
  const [tenant, webhook] = [tenantOf(hook), webhookOf(hook)]
  const message = messagesOf(tenant, [step.message])[0]!
  const row = world.tables.index.get(indexKey(tenant, message))
  if (!row?.webhooks.includes(webhook)) return
  const delivery = deliveryId(tenant, message, row.place, webhook)
  const [state] = await untilSuccess(() => world.log.historyOf().states([{ delivery, webhook, accepted_at: row.accepted_at }]))
  if (state === null || state === undefined) return
  const chain = state.chain + 1
  const caller = { tenant, actor: 'client:model' as const, scopes: new Set<never>(), key_id: null }
  const { stream, event } = replay(state, { chain, caller, webhookRevision: 0, now: timestamp() }, world.code.macs)
  await untilSuccess(() => world.events.append(stream, [event], 'any', { since: state.time }))
  world.truth.replays.push({ delivery, webhook, chain })
}
