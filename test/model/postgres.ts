import type { Pool } from 'pg'
import { type Context, context, Later, type Life, type Simulation } from './simulation.ts'
import type { Statement } from './statement.ts'
import { statementOf } from './statements.ts'
import type { Tables } from './tables.ts'

type Query = string | { name?: string; text: string; values?: readonly unknown[] }
export type Observer = Pick<Statement, 'iso' | 'onSaved' | 'onEnded' | 'onStateRead'>

/** The server ends a transaction that is idle for this long (idle_in_transaction_session_timeout). */
const idleMs = 2_000

/** A transaction. Its writes are applied at its commit, and it holds its row locks until then. */
class Transaction {
  readonly life: Life
  readonly writes: (() => void)[] = []
  readonly locks = new Set<string>()
  state: 'open' | 'committed' | 'broken' = 'open'
  /** Whether the commit has been sent, so that the client cannot change the result any more. */
  isCommitting = false
  constructor(life: Life) {
    this.life = life
  }
}

/** A simulated Postgres that knows the statements of the dispatcher and its projections. All processes share it. */
export class Postgres {
  readonly tables: Tables
  private readonly simulation: Simulation
  private readonly observer: Observer
  private readonly locks = new Map<string, { holder: Transaction; waiting: { by: Transaction; granted(): void }[] }>()
  private readonly open = new Set<Transaction>()

  constructor(simulation: Simulation, tables: Tables, observer: Observer) {
    this.simulation = simulation
    this.tables = tables
    this.observer = observer
    simulation.onEnd.push((life) => {
      for (const transaction of this.open) if (transaction.life === life) this.abort(transaction)
    })
  }
  /** Returns a pool for the running process. */
  pool(): Pool {
    const query = (query: Query, values?: readonly unknown[]) => {
      const { text, name, given } = parsed(query, values)
      const { apply, label } = statementOf(name, text)
      const { life } = context.getStore()!
      return this.simulation.call({
        engine: 'postgres',
        name: label,
        quiet: idle.has(label),
        effect: () => queryResult(apply(this.tables, this.statement(text, given, life))),
      })
    }
    return { query, connect: () => this.connect() } as unknown as Pool
  }
  private statement(text: string, values: readonly never[], life: Life): Statement {
    return { text, values, life: life.id, now: this.simulation.now, ...this.observer }
  }
  private async connect() {
    const caller = context.getStore() as Context
    let transaction = new Transaction(caller.life)
    const query = async (query: Query, values?: readonly unknown[]) => {
      const { text, name, given } = parsed(query, values)
      if (text === 'begin') {
        transaction = new Transaction(caller.life)
        this.open.add(transaction)
        return queryResult([])
      }
      if (text.startsWith('set local') || text.startsWith('savepoint') || text.startsWith('release savepoint')) return queryResult([])
      if (text === 'rollback') {
        if (!transaction.isCommitting) this.abort(transaction)
        return queryResult([])
      }
      try {
        return await this.inTransaction(transaction, text, name, given)
      } catch (error) {
        if (text !== 'commit') this.abort(transaction)
        throw error
      }
    }
    return { query, on() {}, off() {}, release() {} }
  }
  private inTransaction(transaction: Transaction, text: string, name: string | undefined, values: readonly never[]) {
    const isOpen = () => {
      if (transaction.state === 'broken') throw Object.assign(new Error('the transaction was ended'), { code: '25P03' })
    }
    if (text === 'commit') {
      transaction.isCommitting = true
      return this.simulation.call({
        engine: 'postgres',
        name: 'commit',
        effect: () => {
          isOpen()
          transaction.state = 'committed'
          for (const write of transaction.writes) write()
          this.close(transaction)
          return { command: 'COMMIT', rows: [] }
        },
      })
    }
    const { apply, label } = statementOf(name, text)
    const isLock = text.includes('for update')
    return this.simulation.call({
      engine: 'postgres',
      name: label,
      quiet: true,
      neverLate: true,
      effect: () => {
        isOpen()
        const statement = this.statement(text, values, transaction.life)
        if (isLock) {
          const lock = String(values[0])
          return new Later<ReturnType<typeof queryResult>>((resolve) =>
            this.lock(transaction, lock, () => resolve(queryResult(apply(this.tables, this.statement(text, values, transaction.life))))),
          )
        }
        transaction.writes.push(() => apply(this.tables, statement))
        // Only the compare-and-set of the checkpoint needs a result now. Because of the row's lock, the result at the commit is the same.
        if (!label.startsWith('update public.projections')) return queryResult([])
        const row = this.tables.projections.get(String(values[1]))!
        return queryResult(!text.includes('is not distinct from') || row.checkpoint === values[3] ? [{ build: 1 }] : [])
      },
    })
  }
  private lock(by: Transaction, name: string, granted: () => void): void {
    const lock = this.locks.get(name)
    if (lock !== undefined) {
      lock.waiting.push({ by, granted })
      return
    }
    this.locks.set(name, { holder: by, waiting: [] })
    by.locks.add(name)
    this.simulation.at(this.simulation.now + idleMs, () => this.abort(by))
    granted()
  }
  private abort(transaction: Transaction): void {
    if (transaction.state !== 'open') return
    transaction.state = 'broken'
    this.close(transaction)
  }
  private close(transaction: Transaction): void {
    this.open.delete(transaction)
    for (const name of transaction.locks) {
      const { waiting } = this.locks.get(name)!
      this.locks.delete(name)
      for (const { by, granted } of waiting) if (by.state === 'open') this.lock(by, name, granted)
    }
  }
}

/** Statements that are repeated while nothing happens. They are left out of the trace. */
const idle = new Set([
  'webhooks-cursor',
  'schedule-waiting',
  'schedule-next-due',
  'deliveries-live-build',
  'select build, is_live, checkpo',
])
const queryResult = (rows: object[]) => ({ rows, rowCount: rows.length, command: '' })
function parsed(query: Query, values: readonly unknown[] | undefined) {
  const { text, name, values: own } = typeof query === 'string' ? { text: query, name: undefined, values: undefined } : query
  return { text, name, given: (own ?? values ?? []) as readonly never[] }
}
