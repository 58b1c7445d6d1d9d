import type { Metadata, ServiceError } from '@grpc/grpc-js'
import type { EventLog } from './event-log.ts'
import type { Faults } from './faults.ts'
import { failures } from './messages.ts'
import type { Replication } from './replication.ts'

/** The users of a server by name. Only admins may read $all. */
export type Users = Readonly<Record<string, { readonly password: string; readonly isAdmin: boolean }>>

/** One server in the view of its RPCs. */
export interface DoubleNode {
  readonly faults: Faults
  /** The log of the node. After the node was deposed, it has another log, because events of the former log that no majority has are void. */
  readonly log: EventLog
  /** Returns the failure if a call is refused before it has any effect, or null. */
  refusal(metadata: Metadata, call: { isWrite?: boolean; readsAll?: boolean }): ServiceError | null
}

export function createNode(options: {
  faults: Faults
  log(): EventLog
  replication: Pick<Replication, 'role' | 'leader'> | null
  users: Users | null
}): DoubleNode {
  const { faults, replication, users } = options
  return {
    faults,
    get log() {
      return options.log()
    },
    refusal(metadata, { isWrite = false, readsAll = false }) {
      const user = users === null ? null : userOf(users, metadata)
      if (user === undefined) return failures.unauthenticated()
      if (readsAll && (faults.settings.denyAll || user?.isAdmin === false)) return failures.denied()
      if (replication === null || replication.role === 'leader') return null
      const needsLeader = isWrite || metadata.get('requires-leader').includes('true')
      if (needsLeader && replication.leader !== null) return failures.notLeader(replication.leader)
      return needsLeader || replication.role === 'unknown' ? failures.unavailable() : null
    },
  }
}

function userOf(users: Users, metadata: Metadata) {
  const [header = ''] = metadata.get('authorization').map(String)
  const [name = '', password] = Buffer.from(header.replace(/^Basic /, ''), 'base64')
    .toString()
    .split(/:(.*)/s)
  const user = users[name]
  return user?.password === password ? user : undefined
}
