import type { Metadata, ServiceError } from '@grpc/grpc-js'
import type { EventLog } from './event-log.ts'
import type { Faults } from './faults.ts'
import { failures } from './messages.ts'
import type { Replication } from './replication.ts'

/** Users of a server by their names. Only admins may read $all. */
export type Users = Readonly<Record<string, { readonly password: string; readonly isAdmin: boolean }>>

/** One server, as the RPCs see it. */
export interface DoubleNode {
  readonly faults: Faults
  /** The log. It is another one after the node was deposed, because events of the former log beyond the majority are void. */
  readonly log: EventLog
  /** Returns the failure with which a call is refused before it does anything, or null. */
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
