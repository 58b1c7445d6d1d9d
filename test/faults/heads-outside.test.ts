import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { startWitness, type Witness } from '../../src/cli/witness.ts'
import { openKeyring } from '../../src/lib/keyring.ts'
import { cosignedAt, openHead, openLogSigner } from '../../src/lib/log-signer.ts'
import { isConsistent } from '../../src/lib/merkle.ts'
import { enginesFor } from '../support/engine-sets.ts'
import { freePort } from '../support/free-ports.ts'
import { runProgram } from '../support/programs.ts'
import { fixedKeys, removeFolder, temporaryFolder } from '../support/service.ts'
import { type Client, clientOf } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

interface LogHead {
  readonly data: { readonly size: number; readonly key: string; readonly note: string; readonly cosigned: string | null }
}
interface HeadPayload {
  readonly note: string
  readonly key: string
  readonly previous_size: number
  readonly consistency: readonly string[]
}

describe('heads of the audit log that leave the service', () => {
  let folder: string
  let port: number
  let witnessKey: string
  let witness: Witness | undefined
  const begin = (logs: readonly string[]) => startWitness({ logs, folder, name: 'w1', host: '127.0.0.1', port })
  before(async () => {
    folder = await temporaryFolder()
    port = await freePort()
    // The witness gets its key before it knows the log, because the service is started with the key of the witness.
    const first = await begin([])
    witnessKey = first.vkey
    await first.close()
  })
  const { service, receiver, services } = withService({
    sharedDatabase: true,
    variables: () => ({
      KOLBAK_LOG_HEAD_SECONDS: '1',
      KOLBAK_LOG_BATCH_SECONDS: '1',
      KOLBAK_LOG_WITNESS_SECONDS: '1',
      KOLBAK_LOG_SEND_SECONDS: '1',
      KOLBAK_LOG_WITNESSES: `${witnessKey}@http://127.0.0.1:${port}`,
    }),
  })
  let client: Promise<Client> | undefined
  const connect = () => {
    client ??= clientOf(service.url)
    return client
  }
  after(async () => {
    await witness?.close()
    await removeFolder(folder)
  })
  const head = async () => (await (await connect()).get<LogHead>('/v1/log')).data
  const firstHead = () => waitFor(async () => ((await (await connect()).call('GET', '/v1/log')).status === 200 ? head() : null))
  const changeSomething = async () => (await connect()).post('/v1/keys', { name: ulid(), scopes: ['read:webhooks'] })

  it('reach webhooks that name them as messages, each with a proof that it extends the one before', async () => {
    const api = await connect()
    const paths = ['/heads', '/heads-too', '/everything'] as const
    const patterns = ['kolbak.log.head', 'kolbak.*', '*']
    for (const [i, path] of paths.entries()) await api.post('/v1/webhooks', { callback_url: receiver.url(path), event: patterns[i] })
    const payloads = () => receiver.received('/heads').map(({ body }) => body.payload as unknown as HeadPayload)
    await waitFor(() => payloads().length >= 1)
    const before = payloads().length
    await changeSomething()
    await waitFor(() => payloads().length > before)
    const [first, ...others] = payloads()
    const opened = payloads().map(({ note, key }) => openHead(note, key))
    expect(first?.previous_size).to.equal(0)
    for (const [i, { previous_size, consistency }] of others.entries()) {
      expect(previous_size).to.equal(opened[i]?.size)
      const proof = consistency.map((hash) => Buffer.from(hash, 'base64'))
      expect(isConsistent(opened[i]!, opened[i + 1]!, proof)).to.equal(true)
    }
    await waitFor(() => receiver.ids('/heads-too').includes(receiver.ids('/heads').at(-1)!))
    expect(receiver.received('/everything')).to.deep.equal([])
  })
  it('lead to no batch and no further head by their own deliveries', async () => {
    await waitFor(() => receiver.received('/heads').length > 0)
    const messages = () => new Set(receiver.ids('/heads')).size
    // The log is at rest once the newest head was sent, and is still the newest head some rounds of all parts later.
    await waitFor(
      async () => {
        const { size } = await head()
        const sent = messages()
        const lastSent = openHead(String(receiver.received('/heads').at(-1)?.body.payload.note), (await head()).key)
        const signings = (
          await services.db.pool.query(`select clock_timestamp() - max(signed_at) > interval '4 s' as is_quiet from log_heads`)
        ).rows
        return lastSent?.size === size && messages() === sent && signings[0].is_quiet
      },
      { what: 'the log to be at rest' },
    )
  })
  it('are signed by the witnesses that the service asks', async () => {
    const { key } = await firstHead()
    expect((await head()).cosigned).to.equal(null)
    await waitFor(() => service.logLines.some(({ msg }) => msg === 'log.witness_failed'))
    witness = await begin([key])
    const cosigned = await waitFor(async () => (await head()).cosigned)
    expect(cosignedAt(cosigned, witnessKey)).to.be.closeTo(Date.now() / 1_000, 60)
    expect(openHead(cosigned, key)).to.not.equal(null)
    await changeSomething()
    await waitFor(async () => (await head()).cosigned !== cosigned)
    const environment = services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...(await enginesFor(services.db.url)) })
    const printed = await runProgram('cli/kolbak.ts', ['audit', 'head', '--cosigned'], environment)
    expect(printed.code, printed.err).to.equal(0)
    expect(cosignedAt(printed.out, witnessKey)).to.not.equal(null)
  })
  it('stop if a witness has seen a larger log, as after an older backup was put back, and deliveries go on', async () => {
    const { key } = await firstHead()
    const keyring = await openKeyring(services.db.pool, Buffer.from(fixedKeys.KOLBAK_MASTER_KEY, 'base64'))
    const signer = await openLogSigner(keyring)
    await witness?.close()
    const largest = signer.sign({ size: 1_000_000, root: randomBytes(32) })
    writeFileSync(join(folder, 'witness-heads.json'), JSON.stringify({ [signer.origin]: largest }))
    witness = await begin([key])
    await changeSomething()
    const forked = await waitFor(() => service.logLines.find(({ msg }) => msg === 'log.forked'))
    expect(forked.why).to.match(/^The witness .* has signed a head of 1000000, but the newest head of this log has \d+\.$/)
    await waitFor(async () => (await fetch(`${service.url}/health/ready`)).status === 503)
    const api = await connect()
    const event = `order.${ulid()}`
    await api.post('/v1/webhooks', { callback_url: receiver.url('/goes-on'), event })
    await api.post('/v1/events', { id: ulid(), event, payload: {} })
    await waitFor(() => receiver.received('/goes-on').length === 1)
  })
})
