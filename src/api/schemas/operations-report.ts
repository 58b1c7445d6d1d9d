import { timestamp, ulid } from './common.ts'
import { type JsonSchema, named, nullable, object } from './json-schema.ts'

const text = (description: string, example: string): JsonSchema => ({ type: 'string', description, examples: [example] })
const count = (description: string, example = 0): JsonSchema => ({ type: 'integer', minimum: 0, description, examples: [example] })
const seconds = (description: string): JsonSchema => ({ type: 'number', minimum: 0, description, examples: [0.4] })
const list = (description: string, items: JsonSchema): JsonSchema => ({ type: 'array', description, items })
const at = (description: string): JsonSchema => ({ ...timestamp, description })
const processId = text('The id of the process, which is new at each start.', '01M8QZ3K5T7W9Y1B3D5F7H9J2M')

/** The part of the report about disks, replication slots and the last backup. */
const storage = {
  database_bytes: count('The size of the database.', 48_234_496),
  replication_slots: list(
    'The replication slots of the Postgres server. A slot without a reader keeps its log, which fills the disk.',
    object({
      name: text('The slot.', 'standby'),
      is_active: { type: 'boolean', description: 'Whether it has a reader.', examples: [true] },
      retained_bytes: count('The bytes of the log that Postgres keeps for the slot.', 16_777_216),
    }),
  ),
  disk: {
    ...nullable(
      object({
        total_bytes: count('Its size.', 107_374_182_400),
        free_bytes: count('What is free of it.', 53_687_091_200),
      }),
    ),
    description: 'The file system of the data folder of the process that responds, or null if the process has no such folder.',
    examples: [{ total_bytes: 107_374_182_400, free_bytes: 53_687_091_200 }],
  },
  last_backup: {
    ...nullable(
      object({
        made_at: at('The time of the state that the backup holds.'),
        age_seconds: count('The time since then.', 3_600),
        bytes: count('The size of the compressed backup.', 12_582_912),
        rows: count('Its rows.', 120_000),
      }),
    ),
    description:
      'The last backup that `operate backup` has made, or null if there was none. Kolbak does not know of backups by other means.',
    examples: [{ made_at: '2026-03-31T00:45:00.000Z', age_seconds: 3_600, bytes: 12_582_912, rows: 120_000 }],
  },
} satisfies Readonly<Record<string, JsonSchema>>

export const operationsReport = named(
  'Operations',
  object({
    version: text('The version of the process that responds.', '0.3.0'),
    checks: list(
      'The checks of the process that responds, as in `/health/ready`.',
      object({ name: text('The part.', 'dispatcher'), ok: { type: 'boolean' }, message: text('What the part does.', 'routes') }, [
        'message',
      ]),
    ),
    processes: list(
      'The live processes.',
      object({
        id: processId,
        roles: list('Its roles.', { type: 'string', examples: ['dispatcher'] }),
        started_at: at('The start of the process.'),
        seen_at: at('The last heartbeat.'),
      }),
    ),
    engines: list(
      'The engine of each port.',
      object({
        port: text('The port.', 'message_bus'),
        identity: text('The engine and its id.', 'postgres-1f2e3d4c'),
        since: at('Since when the port has this engine.'),
      }),
    ),
    bus: object({
      unread: count('Records that are not done.'),
      oldest_record_seconds: seconds('Age of the oldest record that is not done, or 0.'),
      produced: count('Records that were ever stored.', 1_042),
      done: count('Records that are done.', 1_042),
      partitions: list(
        'The partitions.',
        object({ partition: count('The number, from 0.'), unread: count('Its records that are not done.') }),
      ),
    }),
    schedule: object({
      retrying: count('Deliveries that wait for their next attempt, up to 100,000.', 3),
      oldest_due_seconds: seconds('Time since the oldest retry became due, or 0.'),
      parked: object({
        slot: count('Deliveries that wait for a slot.'),
        tenant_suspended: count('Deliveries of suspended tenants.'),
      }),
      most_parked: list(
        'The 20 webhooks with most parked deliveries.',
        object({ tenant_id: ulid, webhook_id: ulid, count: count('Parked deliveries.', 120) }),
      ),
    }),
    dead_letters: count('Deliveries that ended in failure and were not replayed, up to 100,000.', 7),
    webhooks: object({
      active: count('Active webhooks.', 12),
      failing: count('Active webhooks whose last request failed.', 1),
      deactivated: object({
        requested: count('Deactivated on request.'),
        gone: count('Deactivated because the receiver is gone.'),
        failing: count('Deactivated after five days of failures.'),
        key_deleted: count('Deactivated with their key.'),
      }),
    }),
    projections: list(
      'The builds of the projections.',
      object({
        name: text('The projection.', 'webhooks'),
        build: count('The number of the build.', 1),
        version: count('The version of the code that makes it.', 3),
        is_live: {
          type: 'boolean',
          description: 'Whether readers see this build. A build that is not live is being made.',
          examples: [true],
        },
        state: nullable(text('`running`, `waiting` or `failed`; null if another process runs it.', 'running')),
        error: nullable({ type: 'string', description: 'The code of its error, or null.', examples: [null, 'ECONNREFUSED'] }),
        lag_seconds: nullable(seconds('How far it is behind; null if another process runs it.')),
        quarantined: count('Its quarantined streams.'),
        updated_at: at('When its checkpoint was last saved.'),
      }),
    ),
    quarantined_streams: list(
      'The 20 streams that have been quarantined for the longest time.',
      object({
        projection: text('The projection.', 'webhooks'),
        stream: text('The stream.', 'webhook-01JQNV4T0M2ZB7V6RWKD5YQ3XE'),
        revision: count('The revision of the faulty event.', 4),
        error: text('The error.', 'event_not_readable: schema 9'),
        since: at('Since when.'),
      }),
    ),
    leases: list(
      'The leases.',
      object({ name: text('What the process may work on.', 'projection/webhooks/1'), owner: processId, until: at('When it runs out.') }),
    ),
    running_jobs: count('Replay jobs that have not ended.'),
    ...storage,
    retention_days: count('How long messages and the history are kept.', 30),
  }),
)
