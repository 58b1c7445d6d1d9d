import { expect } from 'chai'
import { clientOf } from '../support/service-client.ts'
import type { Deployment } from './deployment.ts'
import type { Fault } from './faults.ts'
import { type Figures, openLedger } from './ledger.ts'

/** The figures of one fault. */
export interface Row extends Figures {
  readonly fault: string
  readonly remark: string
}

/** Causes a fault while events are posted, waits until the deployment is whole again, and returns the figures. */
export async function measure(deployment: Deployment, fault: Fault, perSecond: number): Promise<Row> {
  const urls = () => deployment.members('api').map(({ service }) => service.url)
  const { token } = await clientOf(urls()[0]!) // tokens expire, so each fault gets a new one
  const ledger = openLedger({ urls, authorization: `Bearer ${token}`, perSecond, arrivals: deployment.arrivals })
  let remark: string | undefined
  let figures: Figures
  try {
    await ledger.flowing()
    remark = await fault.run(deployment, ledger)
    await ledger.flowing()
    await deployment.whole()
  } catch (cause) {
    const lines = deployment
      .members()
      .flatMap(({ role, service }) => service.logLines.slice(-5).map((line) => `${role}: ${JSON.stringify(line)}`))
    throw new Error(`the fault could not be measured: ${(cause as Error).message}\nThe processes logged last:\n${lines.join('\n')}`, {
      cause,
    })
  } finally {
    // The load ends even if the fault could not be caused.
    figures = await ledger.close()
  }
  const statuses = [...ledger.statuses()].filter(([status]) => status !== 202).map(([status, count]) => `${count} x ${status}`)
  return { ...figures, fault: fault.name, remark: [...(remark ? [remark] : []), ...statuses].join(', ') }
}

/** Returns the figures of a row as one line. */
export const lineOf = (row: Row): string =>
  `${row.accepted} accepted, ${row.refused} refused, ${row.lost} lost, ${row.repeated} repeated; ` +
  `stood still ${Math.round(row.standStillMs)} ms, p99 ${Math.round(row.p99Ms)} ms${row.remark === '' ? '' : `; ${row.remark}`}`

/** Expects that nothing was lost, and that the fault had no larger effect than its limits allow. */
export function expectWithin(row: Row, fault: Fault): void {
  expect(row.accepted, 'accepted events').to.be.above(0)
  expect(row.lost, 'accepted events that were not delivered').to.equal(0)
  if (!fault.mayRefuse) expect(row.refused, `refused posts (${row.remark})`).to.equal(0)
  expect(row.standStillMs, 'milliseconds without a delivery').to.be.below(fault.standStillMs)
  expect(row.p99Ms, 'milliseconds from post to delivery (p99)').to.be.below(fault.p99Ms)
}

/** Returns the rows as a table in Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const secondsOf = (ms: number) => `${(ms / 1_000).toFixed(1)} s`
  const cells = rows.map((row) => [
    row.fault,
    String(row.accepted),
    String(row.refused),
    String(row.lost),
    String(row.repeated),
    secondsOf(row.standStillMs),
    secondsOf(row.p99Ms),
    `${(100 * row.lateShare).toFixed(0)} %`,
    row.remark,
  ])
  const head = ['fault', 'accepted', 'refused', 'lost', 'repeated', 'stood still', 'p99', 'over 2 s', 'remarks']
  return [head, head.map(() => '---'), ...cells].map((line) => `| ${line.join(' | ')} |`).join('\n')
}
