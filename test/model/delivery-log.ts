import { finality, statusOf } from '../../src/events/delivery.ts'
import type { DeliveryId } from '../../src/events/ids.ts'
import type { MessageRef } from '../../src/events/refs.ts'
import { erasedBody, isErased } from '../../src/events/sealed-body.ts'
import type { ArchivedBody, Delivery, DeliveryFact, DeliveryHistory, DeliveryKey, DeliveryLog } from '../../src/ports/delivery-log.ts'
import { context, type Simulation } from './simulation.ts'

export const bodyKey = ({ tenant, message, fingerprint }: MessageRef) => `${tenant}/${message}/${fingerprint}`
const isGreater = (a: DeliveryFact, b: DeliveryFact) =>
  a.chain !== b.chain
    ? a.chain > b.chain
    : finality[a.type] !== finality[b.type]
      ? finality[a.type] > finality[b.type]
      : a.attempt !== b.attempt
        ? a.attempt > b.attempt
        : a.event_id > b.event_id
/** Returns the greatest of the facts of one delivery. */
export const greatest = (facts: readonly DeliveryFact[]): DeliveryFact | undefined =>
  facts.reduce<DeliveryFact | undefined>((best, fact) => (best === undefined || isGreater(fact, best) ? fact : best), undefined)
const notModelled = () => Promise.reject(new Error('the model does not read this'))

/** The delivery history and the archive. A call with many facts may have only a part of its effect. */
export class ModelDeliveryLog implements DeliveryLog {
  readonly identity = 'model'
  readonly facts = new Map<DeliveryId, Map<string, DeliveryFact>>()
  readonly archived = new Map<string, Buffer>()
  /** The time at which a process last read the state of a delivery before a decision to send, by `<life>/<delivery>/<from table>`. */
  readonly stateReadAt = new Map<string, number>()
  /** The time at which a process last read a body, by `<life>/<key of the body>`. */
  readonly bodyReadAt = new Map<string, number>()
  private readonly simulation: Simulation
  constructor(simulation: Simulation) {
    this.simulation = simulation
  }
  stateOf(delivery: DeliveryId): DeliveryFact | undefined {
    return greatest([...(this.facts.get(delivery)?.values() ?? [])])
  }
  private put(fact: DeliveryFact): void {
    const facts = this.facts.get(fact.delivery) ?? new Map<string, DeliveryFact>()
    facts.set(`${fact.event_id}`, fact)
    this.facts.set(fact.delivery, facts)
  }
  archive(bodies: readonly ArchivedBody[]) {
    return this.simulation.call({
      engine: 'log',
      name: 'archive',
      effect: () => {
        // An erased body stays erased, even if a write of the body comes later.
        for (const body of bodies) if (!isErased(this.archived.get(bodyKey(body)))) this.archived.set(bodyKey(body), body.sealedBody)
      },
    })
  }
  bodies(keys: readonly MessageRef[]) {
    const { life } = context.getStore()!
    const effect = () =>
      keys.map((key) => {
        this.bodyReadAt.set(`${life.id}/${bodyKey(key)}`, this.simulation.now)
        return this.archived.get(bodyKey(key)) ?? null
      })
    return this.simulation.call({ engine: 'log', name: 'bodies', quiet: true, effect })
  }
  erase(messages: readonly MessageRef[]) {
    const effect = () => {
      for (const message of messages) this.archived.set(bodyKey(message), erasedBody)
    }
    return this.simulation.call({ engine: 'log', name: 'erase', effect })
  }
  private states(keys: readonly DeliveryKey[]) {
    const { life } = context.getStore()!
    return this.simulation.call({
      engine: 'log',
      name: 'states',
      effect: () =>
        keys.map((key) => {
          this.stateReadAt.set(stateReadKey(life.id, key.delivery, 'parked_at' in key), this.simulation.now)
          const fact = this.stateOf(key.delivery)
          return fact === undefined ? null : ({ ...fact, status: statusOf[fact.type], next_attempt_at: null } as Delivery)
        }),
    })
  }
  private async record(facts: readonly DeliveryFact[]): Promise<void> {
    const middle = facts.length > 1 && this.simulation.random.chance(0.3) ? this.simulation.random.int(1, facts.length - 1) : facts.length
    await Promise.all(
      [facts.slice(0, middle), facts.slice(middle)]
        .filter((part) => part.length > 0)
        .map((part) =>
          this.simulation.call({
            engine: 'log',
            name: `record ${part.map((fact) => `${fact.type} ${fact.chain}.${fact.attempt}`).join(', ')}`,
            effect: () => {
              for (const fact of part) this.put(fact)
            },
          }),
        ),
    )
  }
  historyOf(): DeliveryHistory {
    return {
      record: (facts) => this.record(facts),
      states: (keys) => this.states(keys),
      find: notModelled,
      attempts: notModelled,
      history: notModelled,
      undelivered: notModelled,
      deadLetters: notModelled,
      deadLetterGroups: notModelled,
    }
  }
  async makeBuild() {}
  async dropBuild() {}
  async close() {}
}
export const stateReadKey = (life: string, delivery: DeliveryId, fromTable: boolean) => `${life}/${delivery}/${fromTable}`
