import type { Pool } from 'pg'
import type { Checkpoint } from '../events/envelope.ts'
import { sqlOn } from '../lib/sql.ts'
import { projectionNames } from './names.ts'

/**
 * Notes a change of a webhook that the API is about to acknowledge, if the read model `webhooks` does not have the change yet. (The response then
 * carries `Projection-Lag`.) Routing waits until the read model has the change, so that a message accepted after the response is matched with the
 * changed webhook.
 * @param position the position of the event of the change
 */
export async function noteAcknowledgedChange(pool: Pool, position: Checkpoint): Promise<void> {
  await sqlOn(pool)`
    insert into acknowledged_changes as noted (projection, position) values (${projectionNames.webhooks}, ${position})
    on conflict (projection) do update set position = excluded.position where noted.position < excluded.position`
}
