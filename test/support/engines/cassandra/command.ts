import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Certificate } from '../kafka/certificate.ts'

/** The packages of the JDK that Cassandra's own start script exports and opens to Cassandra. Without them, it does not start on Java 17. */
const exported = [
  ...['java.base/jdk.internal.misc', 'java.base/java.lang.ref', 'java.management.rmi/com.sun.jmx.remote.internal.rmi'],
  ...['java.management/com.sun.jmx.remote.security', 'java.rmi/sun.rmi.registry', 'java.rmi/sun.rmi.server', 'java.sql/java.sql'],
  ...['jdk.unsupported/sun.misc', 'jdk.compiler/com.sun.tools.javac.file', 'jdk.attach/sun.tools.attach'],
]
const openedPackages = [
  ...['module', 'reflect'].map((name) => `java.base/java.lang.${name}`),
  ...['loader', 'ref', 'reflect', 'math', 'module', 'util.jar'].map((name) => `java.base/jdk.internal.${name}`),
  ...['java.lang', 'java.io', 'java.nio', 'java.util', 'sun.nio.ch'].map((name) => `java.base/${name}`),
  ...['jdk.management/com.sun.management.internal', 'jdk.compiler/com.sun.tools.javac'],
]

export interface CassandraFiles {
  /** The folder of its jars. */
  readonly jars: string
  /** The folder of its configuration and all its data. */
  readonly folder: string
  /** Whether acknowledged writes survive a kill of the process. */
  readonly isDurable: boolean
  /** The most megabytes of the heap. Default 512. */
  readonly heapMb?: number
  /** Milliseconds that a starting node waits for other nodes. Default 100, because a single node need not wait. */
  readonly ringDelayMs?: number
}

/** Returns the arguments of `java` for one small node that listens on this machine alone. */
export function javaArguments({ jars, folder, isDurable, heapMb = 512, ringDelayMs = 100 }: CassandraFiles): string[] {
  const agent = readdirSync(jars).find((name) => /^jamm-.*\.jar$/.test(name))
  if (agent === undefined) throw new Error(`there is no jamm in ${jars}: it measures memtables, and Cassandra does not start without it`)
  const settings = {
    'cassandra.config': `file://${folder}/cassandra.yaml`,
    'cassandra.storagedir': `${folder}/data`,
    'cassandra.logdir': `${folder}/log`,
    'cassandra-foreground': 'yes',
    'cassandra.libjemalloc': '-',
    'cassandra.ring_delay_ms': String(ringDelayMs),
    'cassandra.skip_wait_for_gossip_to_settle': '0',
    'cassandra.shutdown_announce_in_ms': '0',
    'cassandra.superuser_setup_delay_ms': '0',
    // With `true`, changes of the schema are not synced to the disk, which saves hundreds of milliseconds for each change. A killed server then loses
    // its tables.
    'cassandra.unsafesystem': String(!isDurable),
    'logback.configurationFile': `file://${join(import.meta.dirname, 'logback.xml')}`,
    'jdk.attach.allowAttachSelf': 'true',
    'java.net.preferIPv4Stack': 'true',
    'io.netty.tryReflectionSetAccessible': 'true',
  }
  return [
    ...exported.flatMap((name) => ['--add-exports', `${name}=ALL-UNNAMED`]),
    ...openedPackages.flatMap((name) => ['--add-opens', `${name}=ALL-UNNAMED`]),
    `-javaagent:${join(jars, agent)}`,
    ...['-Xms64m', `-Xmx${heapMb}m`, '-Xss512k', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:+ExitOnOutOfMemoryError'],
    ...Object.entries(settings).map(([name, value]) => `-D${name}=${value}`),
    ...['-cp', `${jars}/*`, 'org.apache.cassandra.service.CassandraDaemon'],
  ]
}

export interface CassandraSettings {
  readonly cqlPort: number
  readonly storagePort: number
  readonly withPasswords: boolean
  /** Whether acknowledged writes survive a kill of the process. */
  readonly isDurable: boolean
  /** The certificate of the server, if it accepts only TLS. */
  readonly certificate: Certificate | undefined
  /** The node of a cluster. Without it, the node is alone on 127.0.0.1. */
  readonly cluster?: {
    readonly address: string
    /** The address of the first node, from which the others learn of each other. */
    readonly seed: string
    readonly token: bigint
  }
}

/** Returns the content of `cassandra.yaml` as JSON, because JSON is YAML. */
export function configuration(options: CassandraSettings): string {
  const { address = '127.0.0.1', seed = address, token } = options.cluster ?? {}
  return JSON.stringify({
    cluster_name: 'kolbak tests',
    ...(options.withPasswords && {
      authenticator: 'PasswordAuthenticator',
      authorizer: 'CassandraAuthorizer',
      role_manager: 'CassandraRoleManager',
    }),
    ...(options.certificate && {
      client_encryption_options: {
        enabled: true,
        optional: false,
        keystore: options.certificate.keystore,
        keystore_password: options.certificate.password,
        store_type: 'PKCS12',
      },
    }),
    partitioner: 'org.apache.cassandra.dht.Murmur3Partitioner',
    endpoint_snitch: 'SimpleSnitch',
    num_tokens: 1,
    // The nodes of a new cluster have no data that they would have to copy from each other.
    ...(token !== undefined && { initial_token: String(token), auto_bootstrap: false }),
    listen_address: address,
    rpc_address: address,
    start_native_transport: true,
    native_transport_port: options.cqlPort,
    storage_port: options.storagePort,
    ssl_storage_port: options.storagePort,
    seed_provider: [
      { class_name: 'org.apache.cassandra.locator.SimpleSeedProvider', parameters: [{ seeds: `${seed}:${options.storagePort}` }] },
    ],
    // With `periodic`, which is Cassandra's default, a killed process loses the writes of its last seconds.
    ...(options.isDurable ? { commitlog_sync: 'batch' } : { commitlog_sync: 'periodic', commitlog_sync_period: '10000ms' }),
    commitlog_segment_size: '32MiB',
    disk_access_mode: 'standard',
    memtable_allocation_type: 'heap_buffers',
    // Otherwise Cassandra would copy a keyspace before it drops it.
    auto_snapshot: false,
    incremental_backups: false,
    cdc_enabled: false,
  })
}
