import type { Profile } from './plan.ts'

/** A mistake that somebody could make, planted in src as it is loaded, and the invariants that it is to break. */
export interface Mutation {
  readonly name: string
  readonly edits: readonly { readonly file: string; readonly find: string; readonly put: string }[]
  readonly breaks: readonly string[]
  /** The seed that is tried first, where the first one that sees it is far from 1. */
  readonly from?: number
  /** Default: both. */
  readonly inProfile?: readonly Profile[]
}
const one = (name: string, breaks: readonly string[], file: string, find: string, put: string): Mutation => ({
  name,
  breaks,
  edits: [{ file, find, put }],
})
const isHigher = 'where (mine.chain, mine.attempt) < (excluded.chain, excluded.attempt)'

export const mutations: readonly Mutation[] = [
  one('an offset is saved before the attempts', ['4'], 'dispatch/route.ts', 'let left = owed.length + 1', 'let left = 1'),
  one(
    'a message is done without MessageRouted',
    ['4'],
    'dispatch/route.ts',
    'appendRouted(incoming, row).then(() => one(true), failed)',
    'one(true); void appendRouted(incoming, row)',
  ),
  one(
    'a message is done without MessageRejected',
    ['4'],
    'dispatch/route.ts',
    "append(incoming, rejectedId(incoming.place), 'MessageRejected'",
    "incoming.settled(true); append(incoming, rejectedId(incoming.place), 'MessageRejected'",
  ),
  one(
    'any conflict in the index drops the message',
    ['1', '4'],
    'dispatch/route.ts',
    'if (first.place === row.place) again.push',
    'if (first.place !== first.place) again.push',
  ),
  one(
    'a partition begins at its end',
    ['1', '4', 'stuck'],
    'dispatch/consume.ts',
    'const offset = await offsets.startAt(partition)',
    'const offset = (await bus.ends()).get(partition) ?? 0n',
  ),
  one(
    'a claimed row goes before the append',
    ['1', '4', '5'],
    'dispatch/deliver.ts',
    "await untilDone(() => step('delivery.append', append), {",
    'if (origin.fromTable) await untilDone(() => schedule.done(owed), { onError() {} })\n    await untilDone(append, {',
  ),
  { ...one('the retry manager overwrites whatever row is there', ['1', '5', 'early'], 'dispatch/retries.ts', isHigher, ''), from: 74 },
  { ...one('parking overwrites whatever row is there', ['1', '5', 'early'], 'dispatch/schedule.ts', isHigher, ''), from: 192 },
  one(
    'an attempt that is over takes the row of a later one along',
    ['1', '5'],
    'dispatch/schedule.ts',
    ' and (mine.chain, mine.attempt) <= (over.chain, over.attempt)',
    '',
  ),
  one('an end removes the row of any chain', ['1', '5'], 'dispatch/retries.ts', ' and mine.chain <= over.chain', ''),
  {
    name: 'a projection does not compare its checkpoint',
    from: 426,
    breaks: ['2', '3', '5', 'stuck'],
    edits: [
      { file: 'projections/apply-batch.ts', find: 'row.checkpoint !== state.checkpoint || ', put: '' },
      {
        file: 'projections/apply-batch.ts',
        find: 'checkpoint is not distinct from',
        put: 'true or checkpoint is distinct from',
      },
    ],
  },
  one(
    'webhooks are copied by time alone',
    ['1'],
    'dispatch/route.ts',
    'index.claim(rows, cursor)',
    '(async () => (await copy.freshen(), index.claim(rows)))()',
  ),
  {
    ...one(
      'the cursor is that of a later copy than the one matched with',
      ['1'],
      'dispatch/route.ts',
      'index.claim(rows, cursor)',
      'index.claim(rows, copy.cursor!)',
    ),
    from: 114,
  },
  one(
    'what was matched is written though the webhooks have changed',
    ['1'],
    'dispatch/route.ts',
    'const again = match()',
    'const again = rows',
  ),
  one(
    'webhooks are copied once',
    ['1'],
    'dispatch/webhook-cache.ts',
    'const refresh = (): Promise<void> => {',
    'const refresh = (): Promise<void> => {\n    if (targets.size > 0) return Promise.resolve()',
  ),
  {
    ...one(
      'a message that comes again is matched anew',
      ['1', '4'],
      'dispatch/route.ts',
      'again.push({ incoming, row: first })',
      'again.push({ incoming, row })',
    ),
    from: 43,
  },
  one(
    'a message that comes again is sent again, whatever came of it',
    ['5'],
    'dispatch/route.ts',
    'again.length === 0 ? new Set<string>()',
    'again.length >= 0 ? new Set<string>()',
  ),
  one('410 deactivates whatever the webhook has become', ['gone'], 'dispatch/gone.ts', ', event.data.webhook_revision)', ')'),
  one(
    'an unknown webhook discards',
    ['1'],
    'dispatch/deliver.ts',
    'const target = copy.get(owed.webhook)\n',
    "const target = copy.get(owed.webhook) ?? ({ state: 'deleted', revision: 0 } as Target)\n",
  ),
  one(
    'an append that is tried again makes another event',
    ['2'],
    'dispatch/deliver.ts',
    'store.append(stream, [stored]',
    'store.append(stream, [{ ...stored, id: randomUUID() as EventId }]',
  ),
  {
    ...one(
      'an offset may go backwards',
      ['stuck'],
      'dispatch/offsets.ts',
      'greatest(bus_offsets.next_offset, excluded.next_offset)',
      'excluded.next_offset',
    ),
    from: 27,
  },
  one(
    'routing does not wait for the webhooks',
    ['1'],
    'dispatch/routing-gate.ts',
    'open: async () =>\n      open ||',
    'open: async () =>\n      true ||',
  ),
  {
    ...one(
      'a message that was lost on the way is not taken again',
      ['stuck'],
      'dispatch/consume.ts',
      'else held.hasLost = true',
      'else room.notify()',
    ),
    from: 442,
  },
  {
    ...one(
      'a claimed row is sent though its chain has ended',
      ['5'],
      'dispatch/due.ts',
      'if (isOver(state, row)) {',
      'if (isOver(state, row) && state === null) {',
    ),
    from: 165,
  },
  one('a record is done with the first of its messages', ['4'], 'dispatch/offsets.ts', 'if (entry.left > 0) return', 'entry.left = 0'),
  one('bodies are not archived', ['1'], 'dispatch/route.ts', '() => deliveryLog.archive(', 'async () => void ((_: unknown) => undefined)('),
  one(
    'a slot is not given back when the delivery is parked after all',
    ['stuck', '1'],
    'dispatch/deliver.ts',
    'slot.release()\n    }\n  }',
    '}\n  }',
  ),
  {
    name: 'claims are not renewed',
    breaks: ['3'],
    from: 140,
    inProfile: ['benign'],
    edits: [
      {
        file: 'dispatch/due.ts',
        find: '() => schedule.renew(',
        put: 'async () => ((rows: readonly DeliveryRef[]) => rows.map(() => true))(',
      },
    ],
  },
]
