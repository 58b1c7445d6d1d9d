import gossipMessages from '@eventstore/db-client/generated/gossip_pb.js'
import shared from '@eventstore/db-client/generated/shared_pb.js'
import type { sendUnaryData } from '@grpc/grpc-js'
import type { MemberState, Role } from './replication.ts'

const { MemberInfo } = gossipMessages
const stateOf: Record<Role, number> = {
  leader: MemberInfo.VNodeState.LEADER,
  follower: MemberInfo.VNodeState.FOLLOWER,
  unknown: MemberInfo.VNodeState.UNKNOWN,
}

/** The RPC `Gossip/Read`. It returns the nodes of the cluster as this node sees them. */
export const gossiping =
  (members: () => readonly MemberState[]) =>
  (_: unknown, callback: sendUnaryData<InstanceType<typeof gossipMessages.ClusterInfo>>): void => {
    const list = members().map((member) =>
      new MemberInfo()
        .setInstanceId(new shared.UUID().setString(`00000000-0000-4000-8000-${String(member.port).padStart(12, '0')}`))
        .setTimeStamp(String(Date.now()))
        .setState(stateOf[member.role] as never)
        .setIsAlive(member.isAlive)
        .setHttpEndPoint(new gossipMessages.EndPoint().setAddress('127.0.0.1').setPort(member.port)),
    )
    callback(null, new gossipMessages.ClusterInfo().setMembersList(list))
  }
