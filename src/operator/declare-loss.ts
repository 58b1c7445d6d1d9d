import { createCommandStreams } from '../commands/command-streams.ts'
import type { Config } from '../config/config.ts'
import { defaultTenant, type EventId } from '../events/ids.ts'
import { logStream } from '../events/log.ts'
import { uuidV5 } from '../events/uuid.ts'
import { KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { openLogSigner, renameLog } from '../lib/log-signer.ts'
import { sqlOn } from '../lib/sql.ts'
import { readLogState } from '../projections/audit.ts'
import { listHeads } from '../projections/log-heads.ts'
import { anchorPath, readAnchor } from '../service/log-heads.ts'
import type { Shared } from '../service/shared.ts'
import { version } from '../service/version.ts'
import { checkOffline } from './offline.ts'
import { withShared } from './online.ts'
import { recorded } from './recorded-act.ts'

interface Declared {
  readonly previous: string
  readonly origin: string
  readonly kept: number
}

/**
 * Declares that events which the last known head covers are lost for good, for example because an older backup was restored. No process of the
 * service may run meanwhile. The loss is itself an event, so it stays visible for ever. The log goes on under another name. So heads from before and
 * after the loss are never taken for heads of one log.
 *
 * Throws KolbakError `still_running` or `nothing_lost`.
 */
export const declareLoss = (config: Config, log: Log, reason: string): Promise<Declared> =>
  withShared(
    config,
    log,
    (shared) => recorded(shared, { command: 'audit declare-loss', arguments: { reason } }, () => declareOn(shared, reason)),
    { check: (shared) => checkOffline(shared.pools.reads, shared.processId), besideService: false },
  )

async function declareOn({ config, pools, store, keyring, macs }: Shared, reason: string): Promise<Declared> {
  const signer = await openLogSigner(keyring)
  const heads = [...(await listHeads(sqlOn(pools.reads), 1)), ...(await readAnchor(anchorPath(config), signer.vkey))]
  const last = heads.sort((a, b) => b.size - a.size)[0]
  if (last === undefined) throw new KolbakError('nothing_lost', 'No head was ever given out, so nothing can be missing.')
  const { size, root } = await readLogState(pools.reads)
  const [base = '', number = '1'] = signer.origin.split('#')
  const origin = `${base}#${Number(number) + 1}`
  // The stream may have lost events that the audit log still has, so the two ends are not compared.
  const streams = createCommandStreams(store, keyring, { app: version, macs })
  const past = await streams.read(logStream)
  const data = { origin, previous: last.note, kept: size, root: root.toString('base64'), reason }
  const id = uuidV5('log', 'loss', origin, reason) as EventId
  const author = {
    actor: 'system:operator',
    tenant: defaultTenant,
    time: new Date().toISOString(),
    $correlationId: id,
    $causationId: null,
  } as const
  await streams.append(logStream, [{ id, type: 'LossDeclared', data }], past.revision < 0 ? 'none' : past.revision, past, author)
  await sqlOn(pools.reads)`update log_heads set is_ended = true where origin = ${signer.origin}`
  await renameLog(keyring, origin)
  return { previous: signer.origin, origin, kept: size }
}
