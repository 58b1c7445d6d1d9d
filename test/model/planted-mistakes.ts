import type { Profile } from './plan.ts'
import { afterNextLine, type Change, inSql, onLine, withoutLine } from './planting.ts'

/**
 * A mistake that a programmer could make. The model puts it into a file of src while loading the file, and must then find a broken invariant.
 *
 * A comment at the end of a line of src marks what a mistake changes: `// mutation: offset-before-attempts`. The change
 * of the line is a pattern without variable names, so that a rename in src does not break it. A clause of SQL needs no marker: it is
 * found by its columns. A change that finds nothing to change fails the test, and so does a marker without a mistake.
 */
export interface PlantedMistake {
  readonly name: string
  readonly file: string
  readonly changes: readonly Change[]
  /** The invariants of which at least one must break. */
  readonly breaks: readonly string[]
  /** The seed that is tried first. Default 1. A higher value saves time if the first seeds do not find the mistake. */
  readonly from?: number
  /** The profiles in which the mistake can be found. Default: both. */
  readonly profiles?: readonly Profile[]
}

const isHigher = /where \(\w+\.chain, \w+\.attempt\) < \(excluded\.chain, excluded\.attempt\)/
/** Makes the condition of an `if` false. */
const neverTrue = [/if \(.*\) return/, 'if (false as boolean) return'] as const
const notAwaited = [/await /, 'void '] as const

export const plantedMistakes: readonly PlantedMistake[] = [
  {
    name: 'an offset is saved before the attempts',
    file: 'dispatch/route.ts',
    changes: [onLine('offset-before-attempts', /\w+\.length \+ 1/, '1')],
    breaks: ['4'],
  },
  {
    name: 'a message counts as done without MessageRouted',
    file: 'dispatch/route.ts',
    changes: [onLine('done-without-routed', /(\S+\(.*\))\.then\((\(\) => .*), \w+\)/, 'void $1; ($2)()')],
    breaks: ['4'],
  },
  {
    name: 'a message counts as done without MessageRejected',
    file: 'dispatch/route.ts',
    changes: [onLine('done-without-rejected', ...notAwaited)],
    breaks: ['4'],
  },
  {
    name: 'any conflict in the index drops the message',
    file: 'dispatch/route.ts',
    changes: [onLine('conflict-drops-message', ...neverTrue)],
    breaks: ['1', '4'],
  },
  {
    name: 'a faulty message is retried for ever and stops the others',
    file: 'dispatch/route.ts',
    changes: [onLine('faulty-message-retried', / \|\| .*/, '')],
    breaks: ['1', 'stuck'],
  },
  {
    name: 'a partition is read from its end',
    file: 'dispatch/consume.ts',
    changes: [onLine('start-at-end', /await .*\((\w+)\)$/, '(await deps.bus.ends()).get($1) ?? 0n')],
    breaks: ['1', '4', 'stuck'],
  },
  {
    name: 'a claimed row is deleted before the append',
    file: 'dispatch/record-attempt.ts',
    changes: [afterNextLine('row-deleted-before-append')],
    breaks: ['1', '4', '5'],
  },
  {
    name: 'the retry manager overwrites a row of a later attempt',
    file: 'dispatch/retries.ts',
    changes: [inSql(isHigher)],
    breaks: ['1', '5', 'early'],
    from: 74,
  },
  {
    name: 'parking overwrites a row of a later attempt',
    file: 'dispatch/schedule.ts',
    changes: [inSql(isHigher)],
    breaks: ['1', '5', 'early'],
    from: 260,
  },
  {
    name: 'the end of an attempt deletes the row of a later one',
    file: 'dispatch/schedule.ts',
    changes: [inSql(/ and \(\w+\.chain, \w+\.attempt\) <= \(\w+\.chain, \w+\.attempt\)/)],
    breaks: ['1', '5'],
  },
  {
    name: 'the end of a chain deletes the row of a later chain',
    file: 'dispatch/retries.ts',
    changes: [inSql(/ and \w+\.chain <= \w+\.chain/)],
    breaks: ['1', '5'],
  },
  {
    name: 'a projection does not compare its checkpoint',
    file: 'projections/apply-batch.ts',
    changes: [
      inSql(/\w+\.checkpoint !== \w+\.checkpoint \|\| /),
      inSql(/checkpoint is not distinct from/, 'true or checkpoint is distinct from'),
    ],
    breaks: ['2', '3', '5', 'stuck'],
    from: 1470,
  },
  {
    name: 'the webhook cache is refreshed by time alone',
    file: 'dispatch/route.ts',
    changes: [onLine('cache-by-time-alone', /insertNew\((\w+), \w+\)/, 'insertNew($1)')],
    breaks: ['1'],
  },
  {
    name: 'the cursor is taken from a later refresh than the match',
    file: 'dispatch/route.ts',
    changes: [afterNextLine('cursor-read-later')],
    breaks: ['1'],
    from: 338,
  },
  {
    name: 'a match is written though the webhooks have changed',
    file: 'dispatch/route.ts',
    changes: [withoutLine('stale-match-written')],
    breaks: ['1'],
  },
  {
    name: 'a record is indexed with webhooks that have not reached the head of the store',
    file: 'dispatch/stored-match.ts',
    changes: [withoutLine('stored-match-before-open')],
    breaks: ['1'],
    profiles: ['faulty'],
  },
  {
    name: 'a record is indexed while the webhooks lack an acknowledged change',
    file: 'dispatch/stored-match.ts',
    changes: [onLine('stored-match-behind', / \|\| \w+\.isBehind/, '')],
    breaks: ['1'],
  },
  {
    name: 'a message counts as indexed because the first message of its record is',
    file: 'dispatch/partition-consumer.ts',
    changes: [onLine('entry-of-another-message', /\[i\]/, '[0]')],
    breaks: ['3', '4', '5', '7'],
  },
  {
    name: 'the webhook cache is filled only once',
    file: 'dispatch/webhook-cache.ts',
    changes: [onLine('read-once', /await (\w+)(\(\w+\))/, '($1 as { first?: WebhookChanges } & typeof $1).first ??= await $1$2')],
    breaks: ['1'],
  },
  {
    name: 'a redelivered message is matched again',
    file: 'dispatch/route.ts',
    changes: [onLine('redelivered-matched-anew', /(\w+)(\.place\) .*row: )\w+/, '$1$2$1')],
    breaks: ['1', '4'],
    from: 43,
  },
  {
    name: 'a redelivered message is sent again though it has an attempt',
    file: 'dispatch/route.ts',
    changes: [onLine('redelivered-sent-again', /= \w+\.length === 0 \?/, '= true ?')],
    breaks: ['5'],
  },
  {
    name: '410 deactivates a webhook that has changed since',
    file: 'dispatch/gone.ts',
    changes: [onLine('stale-gone', /, \w+\.data\.webhook_revision\)/, ')')],
    breaks: ['gone'],
  },
  {
    name: 'a delivery to an unknown webhook is discarded',
    file: 'dispatch/deliver.ts',
    changes: [onLine('unknown-webhook-discards', /$/, " ?? ({ state: 'deleted', revision: 0 } as CachedWebhook)")],
    breaks: ['1'],
  },
  {
    name: 'a retried append stores another event',
    file: 'dispatch/record-attempt.ts',
    changes: [onLine('new-event-per-try', /\[(\w+)\]/, '[{ ...$1, id: crypto.randomUUID() as EventId }]')],
    breaks: ['2'],
  },
  {
    name: 'an offset may go backwards',
    file: 'dispatch/offsets.ts',
    changes: [inSql(/greatest\(\w+\.next_offset, (excluded\.next_offset)\)/, '$1')],
    breaks: ['stuck'],
    from: 27,
  },
  {
    name: 'routing does not wait for the webhooks',
    file: 'dispatch/routing-gate.ts',
    changes: [onLine('gate-always-open', /if \(.*\)/, 'if (true as boolean)')],
    breaks: ['1'],
  },
  {
    name: 'routing does not wait for an acknowledged change',
    file: 'dispatch/routing-gate.ts',
    changes: [onLine('acknowledged-not-awaited', /if \(.*\) return true/, 'return true')],
    breaks: ['1'],
  },
  {
    name: 'the routing of a redelivered message is appended as if it were new',
    file: 'dispatch/route-events.ts',
    changes: [onLine('repeat-not-looked-for', /isRedelivered \? .* : /, '')],
    breaks: ['twice'],
    profiles: ['faulty'],
  },
  {
    name: 'a partition is not opened again after a message was dropped',
    file: 'dispatch/partition-consumer.ts',
    changes: [withoutLine('lost-message-ignored')],
    breaks: ['stuck'],
    from: 1110,
  },
  {
    name: 'a claimed row is sent though its chain has ended',
    file: 'dispatch/due.ts',
    changes: [onLine('sent-after-end', /= .*/, '= false as boolean')],
    breaks: ['5'],
    from: 165,
  },
  {
    name: 'a record counts as done with the first of its messages',
    file: 'dispatch/partition-consumer.ts',
    changes: [onLine('record-done-with-first-message', /\w+\.length/, '1')],
    breaks: ['4'],
  },
  {
    name: 'bodies are not archived',
    file: 'dispatch/route.ts',
    changes: [withoutLine('not-archived')],
    breaks: ['1'],
  },
  {
    name: 'a slot is not released',
    file: 'dispatch/deliver.ts',
    changes: [withoutLine('slot-not-released')],
    breaks: ['stuck', '1'],
  },
  {
    name: 'claims are not renewed',
    file: 'dispatch/due.ts',
    changes: [onLine('claims-not-renewed', /await .*renew\((.*)\)\)/, '$1.map(() => true)')],
    breaks: ['3'],
    from: 600,
    profiles: ['benign'],
  },
  {
    name: 'a conflict is reported before its event can be read',
    file: 'adapters/eventstoredb/readable.ts',
    changes: [onLine('conflict-before-readable', /if \(.*\) return \w+/, 'return reported')],
    breaks: ['conflict'],
  },
  {
    name: 'an erased body ends as an unreadable one',
    file: 'dispatch/deliver.ts',
    changes: [onLine('erased-as-unreadable', ...neverTrue)],
    breaks: ['1'],
    from: 25,
  },
  {
    name: 'the records of the bus are not erased',
    file: 'dispatch/erasure-manager.ts',
    changes: [withoutLine('records-not-erased')],
    breaks: ['erased'],
    from: 28,
  },
  {
    name: 'a legal hold does not forbid an erasure',
    file: 'commands/erasure.ts',
    changes: [withoutLine('hold-ignored')],
    breaks: ['hold'],
    from: 100,
  },
  {
    name: 'a forged attempt is applied',
    file: 'projections/apply-batch.ts',
    changes: [onLine('forged-applied', /forgedIn\(.*\)/, '[]')],
    breaks: ['forged'],
  },
  {
    name: 'the id of an attempt is not its MAC',
    file: 'dispatch/record-attempt.ts',
    changes: [onLine('attempt-without-mac', /id: .* \}$/, 'id: crypto.randomUUID() as EventId }')],
    breaks: ['quarantine'],
  },
  {
    name: 'the events before the first batch are not sealed after a crash',
    file: 'service/batch-sealer.ts',
    changes: [onLine('first-events-unsealed', /return (\w+)/, 'return upTo ?? $1')],
    breaks: ['sealed', 'stuck'],
  },
  {
    name: 'the events since the last batch are not read again after a crash',
    file: 'service/batch-sealer.ts',
    changes: [withoutLine('missed-events-unsealed')],
    breaks: ['sealed', 'stuck'],
  },
  {
    name: 'the last events are not sealed if none follows after a crash',
    file: 'projections/build-runner.ts',
    changes: [withoutLine('start-not-observed')],
    breaks: ['stuck'],
    from: 140,
  },
  {
    name: 'the events are not read again after a batch could not be appended',
    file: 'service/batch-sealer.ts',
    changes: [withoutLine('not-resumed-by-itself')],
    breaks: ['stuck'],
  },
  {
    name: 'a process seals a batch that another process has sealed',
    file: 'service/batch-sealer.ts',
    changes: [onLine('sealed-twice', /if \(.*\) throw/, 'if (false as boolean) throw')],
    breaks: ['sealed'],
  },
  {
    name: 'the end of the log is read after the last batch',
    file: 'service/batch-sealer.ts',
    changes: [afterNextLine('end-read-late')],
    breaks: ['sealed'],
  },
  {
    name: 'the append of a batch does not compare the revision',
    file: 'commands/log-events.ts',
    changes: [onLine('log-revision-ignored', /= .*/, "= 'any'")],
    breaks: ['sealed'],
  },
  {
    name: 'the last batch is read while the next one is being sealed',
    file: 'service/batch-sealer.ts',
    changes: [withoutLine('resumed-while-sealing')],
    breaks: ['sealed'],
    from: 50,
  },
]
