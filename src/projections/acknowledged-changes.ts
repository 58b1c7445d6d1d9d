import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { sqlOn } from '../lib/sql.ts'
import { projectionNames } from './names.ts'

/**
 * Notes that the API is about to acknowledge a change of a webhook that the read model `webhooks` does not have yet (the response carries
 * `Projection-Lag`). Routing then waits until the read model has the change, so that a message accepted after the response is matched with
 * the changed webhook. A change that the read model has needs no note.
 * @param position the position of the event of the change
 */
export async function noteAcknowledgedChange(pool: Pool, position: Checkpoint): Promise<void> {
  await sqlOn(pool)`
    insert into acknowledged_changes as noted (projection, position) values (${projectionNames.webhooks}, ${position})
    on conflict (projection) do update set position = excluded.position where noted.position < excluded.position`
}
