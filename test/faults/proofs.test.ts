import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { ulid } from 'ulid'
import { startWitness } from '../../src/cli/witness.ts'
import { readConfig } from '../../src/config/config.ts'
import { openKeyring } from '../../src/lib/keyring.ts'
import { silentLog } from '../../src/lib/log.ts'
import { cosignedAt, createCosigner, openHead, openLogSigner, readHead } from '../../src/lib/log-signer.ts'
import type { Proof } from '../../src/operator/log-proofs.ts'
import { prove } from '../../src/operator/prove.ts'
import { readAnchor } from '../../src/service/log-heads.ts'
import { startBrowser } from '../support/browser.ts'
import { enginesFor } from '../support/engine-sets.ts'
import { runProgram } from '../support/programs.ts'
import { admin, fixedKeys } from '../support/service.ts'
import { type Client, clientOf, type WebhookResponse } from '../support/service-client.ts'
import { waitFor } from '../support/wait-for.ts'
import { withService } from '../support/with-services.ts'

const verifier = join(import.meta.dirname, '../../docs/verify.mjs')
type Check = (files: readonly { name: string; bytes: Buffer }[], key?: string) => { ok: boolean; lines: string[] }

describe('a proof of the audit log', () => {
  const { service, receiver, services } = withService({
    sharedDatabase: true,
    variables: { KOLBAK_LOG_HEAD_SECONDS: '1', KOLBAK_LOG_BATCH_SECONDS: '1', KOLBAK_LOG_LIST_SECONDS: '1' },
  })
  const sql = async (text: string, values: unknown[] = []) => (await services.db.pool.query(text, values)).rows
  const environment = async () => services.variables({ KOLBAK_DATA_DIR: services.dataDir, ...(await enginesFor(services.db.url)) })
  const kolbak = async (...args: string[]) => {
    const ended = await runProgram('cli/kolbak.ts', args, await environment())
    // The Postgres of the tests is not durable, so a line of the log says so.
    return { ...ended, err: ended.err.replace(/^\{.*"postgres\.not_durable"\}\n/, '') }
  }
  const fileOf = (name: string, text: string) => {
    const path = join(services.dataDir, name)
    writeFileSync(path, text)
    return path
  }
  const codeOfProof = async (id: string, options: Parameters<typeof prove>[3] = {}) =>
    prove(readConfig(await environment()), silentLog, id, options).then(
      () => null,
      (error) => error.code,
    )
  /** Returns what the command prints, as soon as a head contains the event. */
  const proofOf = (...args: string[]) =>
    waitFor(async () => {
      const { code, out, err } = await kolbak('audit', 'prove', ...args)
      if (code !== 0 && !err.includes('not_sealed')) throw new Error(err)
      return code === 0 ? out : null
    })
  /** Runs the verifier as an auditor does, with nothing of Kolbak in reach. */
  const verify = (...args: string[]): { code: number; out: string } => {
    try {
      return { code: 0, out: execFileSync(process.execPath, [verifier, ...args], { env: {}, cwd: '/', encoding: 'utf8' }) }
    } catch (error) {
      const { status, stdout } = error as { status: number; stdout: string }
      return { code: status, out: stdout }
    }
  }
  /** Returns the signer of the log, as somebody with the master key could make it. */
  const keysOfLog = async () => {
    const keyring = await openKeyring(services.db.pool, Buffer.from(fixedKeys.KOLBAK_MASTER_KEY, 'base64'))
    return { signer: await openLogSigner(keyring) }
  }
  /** Appends an event by SQL, and waits until a head contains it. */
  const forgedEvent = async (): Promise<{ id: string; stream: string }> => {
    const stream = `webhook-${(await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event: 'a' })).id}`
    const { metadata } = await waitFor(async () => (await sql('select metadata from audit_events where stream = $1', [stream]))[0])
    await sql(
      `select append_events($1, null, array[1], array[0], array[1], array[1], array[0], array[gen_random_uuid()], 'WebhookDeactivated', '{"reason":"requested"}', $2)`,
      [stream, metadata],
    )
    return waitFor(
      async () =>
        (
          await sql(
            'select id, stream from audit_events where stream = $1 and revision = 1 and index < (select max(size) from log_heads)',
            [stream],
          )
        )[0],
    )
  }
  let api: Client
  let check: Check
  let webhook: string
  let eventId: string
  let delivery: string
  before(async () => {
    check = (await import(verifier)).check
    api = await clientOf(service.url)
    const event = `order.${ulid()}`
    webhook = (await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), event })).id
    await api.patch(`/v1/webhooks/${webhook}`, { description: 'for the books' })
    await api.post('/v1/events', { id: ulid(), event, payload: { n: 1 } })
    eventId = await waitFor(
      async () => (await sql('select id from audit_events where stream = $1 and revision = 0', [`webhook-${webhook}`]))[0]?.id,
    )
    delivery = await waitFor(
      async () =>
        (await api.get<{ data: { id: string; status: string }[] }>(`/v1/webhooks/${webhook}/deliveries?status=success`)).data[0]?.id,
    )
  })

  it('of a change is checked years later by one file, with the key or a head that was kept elsewhere', async () => {
    const text = await proofOf(eventId, '--disclose', 'callback_url,origin')
    const proof = JSON.parse(text) as Proof
    const file = fileOf('change.json', text)
    expect(openHead((await kolbak('audit', 'head')).out, proof.key)).to.not.equal(null)
    const byKey = verify(file, '--key', proof.key)
    expect(byKey.out).to.include(`WebhookCreated of webhook-${webhook} (revision 0, event ${eventId}) by client:admin at `)
    expect(byKey.out)
      .to.include(`\n  callback_url: "${receiver.url('/hook')}"\n`)
      .and.to.include('  origin: {"address":"127.0.0.1"')
    expect(byKey.out).to.match(/\nProven\.\n$/)
    expect(byKey.code).to.equal(0)
    const byHead = verify(file, fileOf('proof-head.txt', proof.head))
    expect(byHead.out).to.include('unchanged.').and.to.include('Proven.')
    const { data: log } = await api.get<{ data: { note: string; key: string; size: number } }>('/v1/log')
    expect(log.key).to.equal(proof.key)
    expect(openHead(log.note, log.key)?.size).to.equal(log.size)
    const byNothing = verify(file)
    expect(byNothing.code).to.equal(1)
    expect(byNothing.out).to.include('which only the proof itself names')
    const byOther = verify(file, '--key', proof.key.replace(/.{4}$/, 'AAAA'))
    expect(byOther.code).to.equal(1)
    expect(verify('/nowhere.json', '--key', proof.key).code).to.equal(2)
    expect(verify().code).to.equal(2)
  })
  it('is checked by a page in a browser, which comes from one file and sends nothing', async function () {
    const browser = await startBrowser(this)
    try {
      const page = await browser.newPage()
      const requests: string[] = []
      const errors: string[] = []
      page.on('request', (request) => requests.push(request.url()))
      page.on('pageerror', (error) => errors.push(error.message))
      const html = (await kolbak('audit', 'page')).out
      const download = await fetch(`${service.url}/ui/verify.html`)
      expect(download.headers.get('content-disposition')).to.include('attachment')
      expect(await download.text()).to.equal(html)
      const url = pathToFileURL(fileOf('verify.html', html)).href
      await page.goto(url)
      const text = await proofOf(delivery, '--disclose', 'callback_url')
      const { key, head } = JSON.parse(text) as Proof
      const verdictOf = async (proofText: string, { keptHead = '', givenKey = '' }) => {
        const files = [fileOf('proof.json', proofText), ...(keptHead === '' ? [] : [fileOf('kept.txt', keptHead)])]
        await page.getByLabel('Proofs, and heads that you kept').setInputFiles(files)
        await page.getByLabel('Key of the log').fill(givenKey)
        return checked()
      }
      /** Starts the check, and returns the result. The page shows `Checking` first. */
      const checked = async () => {
        await page.getByRole('button', { name: 'Check' }).click()
        await page.locator('#verdict', { hasText: /^(Not p|P)roven\.$/ }).waitFor()
        return { verdict: await page.locator('#verdict').innerText(), lines: await page.locator('#lines li').allTextContents() }
      }
      // The page says what verify.mjs says.
      const { out } = verify(fileOf('proof.json', text), '--key', key)
      const genuine = await verdictOf(text, { givenKey: key })
      expect([...genuine.lines, genuine.verdict]).to.deep.equal(out.trimEnd().split('\n'))
      expect((await verdictOf(text, { keptHead: head })).verdict).to.equal('Proven.')
      expect((await verdictOf(text, {})).verdict, 'with nothing that was kept').to.equal('Not proven.')
      for (const [from, to] of [
        ['client:admin', 'client:other'],
        ['DeliverySucceeded', 'DeliverySucceedeD'],
        [head.split('\n')[2]!, randomBytes(32).toString('base64')],
      ] as const) {
        expect(text).to.include(from)
        expect((await verdictOf(text.replaceAll(from, to), { givenKey: key })).verdict, from).to.equal('Not proven.')
      }
      // An export is a folder.
      const folder = join(services.dataDir, ulid())
      expect((await kolbak('audit', 'export', folder, '--attempts')).err).to.equal('')
      await page.reload()
      await page.getByLabel('Or the folder of an export').setInputFiles(folder)
      await page.getByLabel('Key of the log').fill(key)
      const whole = await checked()
      expect(whole.verdict, whole.lines.join('\n')).to.equal('Proven.')
      expect(whole.lines[0]).to.include('The export contains all ')
      expect([...new Set(requests)]).to.deep.equal([url])
      expect(errors).to.deep.equal([])
    } finally {
      await browser.close()
    }
  })
  it('of a delivery contains its attempts, and the address to which they went', async () => {
    const text = await proofOf(delivery, '--disclose', 'callback_url')
    const { entries, key } = JSON.parse(text) as Proof
    const { code, out } = verify(fileOf('delivery.json', text), '--key', key)
    expect(out).to.match(
      new RegExp(`DeliverySucceeded .*delivery ${delivery} to webhook ${webhook}, chain 1, attempt 1, response 200, sealed at`),
    )
    expect(out).to.include(`callback_url: "${receiver.url('/hook')}"`)
    expect(code).to.equal(0)
    expect(entries.map(({ entry }) => JSON.parse(entry)[0])).to.deep.equal(['command/1', 'command/1', 'day/1'])
  })
  it('of the completion is the certificate of an erasure, and the proofs of the attempts stay valid', async () => {
    const event = `order.${ulid()}`
    const path = `/${ulid()}`
    receiver.setResponse(path, 500)
    const { id: failing } = await api.post<WebhookResponse>('/v1/webhooks', {
      ...{ callback_url: receiver.url(path), event, retry_delays: [3_600] },
    })
    const id = ulid()
    await api.post('/v1/events', { id, event, payload: { name: 'Jane' } })
    const deliveryWith = (status: string) =>
      waitFor(async () => {
        const { data } = await api.get<{ data: { id: string; last_reason: string }[] }>(
          `/v1/webhooks/${failing}/deliveries?status=${status}`,
        )
        return data[0]
      })
    const asAdmin = ['--url', service.url, '--client-id', admin.id, '--client-secret', admin.secret]
    const { id: retried } = await deliveryWith('retrying')
    const { code, out, err } = await kolbak(...asAdmin, '--json', '--audit-reason', 'request 17', 'events', 'erase-payload', id)
    expect(`${code} ${err}`).to.equal('0 ')
    const erasure = JSON.parse(out).data
    expect(erasure.erased_event_id).to.be.a('string')
    const certificate = await proofOf(erasure.erased_event_id)
    const checked = verify(fileOf('certificate.json', certificate), '--key', (JSON.parse(certificate) as Proof).key)
    expect(checked.out).to.match(/contains PayloadErased of erasure-.* by system:erasure-manager at /)
    expect(checked.code).to.equal(0)
    expect(await deliveryWith('failed')).to.include({ id: retried, last_reason: 'payload_erased' })
    expect(receiver.received(path)).to.have.length(1)
    const attempts = await proofOf(retried)
    expect(verify(fileOf('attempts.json', attempts), '--key', (JSON.parse(attempts) as Proof).key).code).to.equal(0)
  })
  it('is refused if any byte of it is changed', async () => {
    const bytes = Buffer.from(
      await proofOf(delivery, '--disclose', 'callback_url', '--head', fileOf('first.txt', (await kolbak('audit', 'head')).out)),
    )
    const { key, consistency } = JSON.parse(bytes.toString()) as Proof
    expect(consistency).to.have.length(1)
    const accepted = (changed: Buffer) => check([{ name: 'proof', bytes: changed }], key).ok
    expect(accepted(bytes)).to.equal(true)
    for (const [at, byte] of bytes.entries()) expect(accepted(Buffer.from(bytes).fill(byte ^ 1, at, at + 1)), `byte ${at}`).to.equal(false)
    for (const end of [0, 1, bytes.length >> 1, bytes.length - 1]) expect(accepted(bytes.subarray(0, end))).to.equal(false)
    expect(accepted(Buffer.concat([bytes, Buffer.from('\n')]))).to.equal(false)
  })
  it('does not contain another entry, another place or another batch', async () => {
    const [text, other] = [await proofOf(delivery), await proofOf(eventId)]
    const proof = JSON.parse(text) as Proof
    const { entries: otherEntries, genuine } = JSON.parse(other) as Proof
    const accepts = (changed: object) =>
      check([{ name: 'proof', bytes: Buffer.from(`${JSON.stringify({ ...proof, ...changed }, null, 2)}\n`) }], proof.key).ok
    expect(accepts({})).to.equal(true)
    const [sealed, attempt] = proof.entries
    for (const changed of [
      { entries: [sealed, { ...attempt, index: attempt!.index + 1 }] },
      { entries: [{ ...sealed, index: sealed!.index - 1 }, attempt] },
      { entries: [sealed, { ...attempt, entry: attempt!.entry.replace('"code":200', '"code":500') }] },
      { entries: [sealed, { ...attempt, batch: 1 }] },
      { entries: [...proof.entries, ...otherEntries] }, // the log has not confirmed the last one in this proof
      { entries: otherEntries },
      { genuine },
      { genuine: null },
      { genuine: proof.head },
      { more: 1 },
      { disclosed: [{ entry: 0, field: 'callback_url', blinding: '', value: '' }] },
    ])
      expect(accepts(changed), JSON.stringify(changed).slice(0, 100)).to.equal(false)
  })
  it('is linked with a later head by a proof that the log still contains both', async () => {
    const change = await proofOf(eventId)
    const { head, key } = JSON.parse(change) as Proof
    const earlyFile = fileOf('early.txt', head)
    await api.patch(`/v1/webhooks/${webhook}`, { description: 'once more' })
    const lateHead = await waitFor(async () => {
      const { out } = await kolbak('audit', 'head')
      return out === head ? null : out
    })
    const [changeFile, lateFile] = [fileOf('linked-change.json', change), fileOf('late.txt', lateHead)]
    const alone = verify(changeFile, lateFile)
    expect(alone.code).to.equal(1)
    expect(alone.out).to.include('Nothing links this head')
    const link = await kolbak('audit', 'head', '--since-head', earlyFile, lateFile)
    expect(link.code, link.err).to.equal(0)
    const { code, out } = verify(changeFile, fileOf('link.json', link.out), lateFile)
    expect(out).to.match(/The log still contains the \d+ events of the head in .*late\.txt, unchanged\./)
    expect(code).to.equal(0)
    const anchored = verify(
      changeFile,
      fileOf('anchor.jsonl', `{"signed_at":"x","note":"cut\n${JSON.stringify({ signed_at: 'x', note: head })}\n`),
    )
    expect(anchored.code).to.equal(0)
    expect(openHead(lateHead, key)).to.not.equal(null)
  })
  it('is not made of an event that somebody has appended or changed by SQL', async () => {
    const { id, stream } = await forgedEvent()
    expect(await codeOfProof(id)).to.equal('event_forged')
    const { code, err } = await kolbak('audit', 'prove', id)
    expect(code).to.equal(1)
    expect(err).to.include(`${stream}@1 is altered`)
  })
  it('shows no secret, and needs an event or a delivery', async () => {
    expect(await codeOfProof(eventId, { disclose: ['secret'] })).to.equal('not_disclosable')
    expect(await codeOfProof(eventId, { disclose: ['nothing'] })).to.equal('not_disclosable')
    expect(await codeOfProof('00000000-0000-5000-8000-000000000000')).to.equal('not_found')
    expect(await codeOfProof('nothing')).to.equal('not_found')
    expect(await codeOfProof(eventId, { heads: ['nothing'] })).to.equal('not_a_head')
    const { code, err } = await kolbak('audit', 'prove', 'nothing')
    expect(`${code} ${err}`).to.match(/^2 kolbak: No change and no delivery has the id nothing\..*\(not_found\)\n$/)
  })
  it('is refused for a delivery with an attempt that Kolbak has not written, although it is sealed in a batch', async () => {
    const [path, event] = [`/fails-${ulid()}`, `forged.${ulid()}`]
    receiver.setResponse(path, 500)
    const { id } = await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url(path), event, retry_delays: [600] })
    await api.post('/v1/events', { id: ulid(), event, payload: {} })
    const failed = await waitFor(
      async () => (await sql(`select stream, day::text, data, metadata from day_events where stream like $1`, [`attempts-${id}-%`]))[0],
    )
    const data = JSON.parse(failed.data)
    await sql(
      `select append_events($1, array[$2::date], array[1], array[-2], array[1], array[1], array[0], array[gen_random_uuid()], 'DeliverySucceeded', $3, $4,
         array[$5::uuid], array[$6::timestamptz])`,
      [failed.stream, failed.day, JSON.stringify({ ...data, code: 200, reason: null }), failed.metadata, data.delivery, data.accepted_at],
    )
    await sql(`notify kolbak, 'somebody events'`)
    await waitFor(async () => (await codeOfProof(data.delivery)) === 'event_forged')
    // An export that contains the event names it.
    const folder = await waitFor(async () => {
      const newFolder = join(services.dataDir, ulid())
      const { out } = await kolbak('audit', 'export', newFolder, '--attempts')
      return /\. 1 attempt of them is forged or altered\.$/m.test(out) ? newFolder : null
    })
    const { key } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
    expect(verify(folder, '--key', key).out).to.match(
      /The attempt [0-9a-f-]{36} in the batch of entry \d+ is forged or altered: Kolbak has not written it like this\.\n/,
    )
  })
  it('is dated by a witness, who also notices a log that was put back', async () => {
    const text = await proofOf(eventId)
    const { key, head } = JSON.parse(text) as Proof
    const { signer } = await keysOfLog()
    const witness = await startWitness({ logs: [key], folder: join(services.dataDir, 'witness'), name: 'w1', host: '127.0.0.1', port: 0 })
    try {
      const address = `${witness.vkey}@${witness.url}`
      const signed = await kolbak('audit', 'head', '--witness', address)
      expect(signed.code, signed.err).to.equal(0)
      expect(cosignedAt(signed.out, witness.vkey)).to.be.closeTo(Date.now() / 1_000, 60)
      const files = [fileOf('dated.json', text), fileOf('dated-head.txt', signed.out)]
      const link = fileOf(
        'dated-link.json',
        (await kolbak('audit', 'head', '--since-head', fileOf('dated-first.txt', head), files[1]!)).out,
      )
      const { code, out } = verify(...files, link, '--witness', witness.vkey)
      expect(out).to.match(/^The witness w1 has seen the head in .*dated-head\.txt at 20.*Z\.\n/)
      expect(code).to.equal(0)
      expect(verify(...files, link, '--witness', createCosigner(randomBytes(32), 'w1').vkey).code).to.equal(1)
      const largest = signer.sign({ size: 1_000_000, root: randomBytes(32) })
      const { size } = readHead(signed.out)!
      expect((await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body: `old ${size}\n\n${largest}` })).status).to.equal(422)
      const heads = join(services.dataDir, 'witness/witness-heads.json')
      await witness.close()
      writeFileSync(heads, JSON.stringify({ [signer.origin]: largest }))
      const ahead = await startWitness({ logs: [key], folder: join(services.dataDir, 'witness'), name: 'w1', host: '127.0.0.1', port: 0 })
      try {
        const { code: faulty, err } = await kolbak('audit', 'head', '--witness', `${ahead.vkey}@${ahead.url}`)
        expect(`${faulty} ${err}`).to.match(
          /^1 kolbak: The witness .* has signed a head of 1000000, but the newest head of this log has \d+\. \(log_forked\)/,
        )
      } finally {
        await ahead.close()
      }
      const away = await kolbak('audit', 'head', '--witness', `${ahead.vkey}@${ahead.url}`)
      expect(`${away.code} ${away.err}`).to.match(/^2 kolbak: The witness .* cannot be reached/)
    } finally {
      await witness.close()
    }
  })
  it('of absence shows that a message was not routed to a webhook, and why', async () => {
    const [event, message] = [`order.${ulid()}`, ulid()]
    const subscribe = async (body: object) =>
      (await api.post<WebhookResponse>('/v1/webhooks', { callback_url: receiver.url('/hook'), ...body })).id
    const taker = await subscribe({ event })
    const [other, inactive] = [await subscribe({ event: 'user.*' }), await subscribe({ event: '*', is_active: false })]
    await api.post('/v1/events', { id: message, event, payload: {} })
    await waitFor(
      async () => (await sql(`select from day_events where type like 'Message%Routed' and data like $1`, [`%"${message}"%`])).length > 0,
    )
    const later = await subscribe({ event: '*' })
    const proofNot = (id: string) =>
      waitFor(async () => {
        const { code, out, err } = await kolbak('audit', 'prove-not', message, id)
        if (code !== 0 && !/not_sealed|not_found/.test(err)) throw new Error(err)
        return code === 0 ? out : null
      })
    for (const [id, why] of [
      [other, 'had the pattern user.*, which does not take this event'],
      [inactive, 'was inactive'],
      [later, 'did not exist yet'],
    ] as const) {
      const text = await proofNot(id)
      const { key } = JSON.parse(text) as Proof
      const { code, out } = verify(fileOf('absence.json', text), '--key', key)
      expect(out).to.match(
        new RegExp(`^The message ${message} \\(event ${event}\\) was routed at .* to 1 webhook, and the webhook ${id} is not one of them`),
      )
      expect(out).to.include(`At that time, the webhook ${why}. `)
      expect(code).to.equal(0)
      for (const [from, to] of [
        [id, taker],
        [message, ulid()],
      ] as const)
        expect(
          check(
            [
              {
                name: 'x',
                bytes: Buffer.from(
                  text.replace(`"webhook": "${from}"`, `"webhook": "${to}"`).replace(`"message": "${from}"`, `"message": "${to}"`),
                ),
              },
            ],
            key,
          ).ok,
        ).to.equal(false)
    }
    // Once a list of all streams was made after the routing, the proof shows that there was no later change.
    const text = await waitFor(async () => {
      const proof = await proofNot(other)
      return (JSON.parse(proof) as Proof).absent?.listed === undefined ? null : proof
    })
    const { key, absent } = JSON.parse(text) as Proof
    const { code, out } = verify(fileOf('listed.json', text), '--key', key)
    expect(out).to.match(/It had no later change when the log listed the last change of each webhook, at 20.*Z\./)
    expect(code).to.equal(0)
    const { streams, stream } = absent!.listed!
    for (const [from, to] of [
      [`"streams": ${streams}`, `"streams": ${streams + 1}`],
      [`"stream": {\n        "index": ${stream.index}`, `"stream": {\n        "index": ${stream.index + 1}`],
      [stream.path[0]!, randomBytes(32).toString('base64')],
    ] as const) {
      const altered = text.replace(from, to)
      expect(altered).to.not.equal(text)
      expect(check([{ name: 'x', bytes: Buffer.from(altered) }], key).ok, from).to.equal(false)
    }
    const refused = await kolbak('audit', 'prove-not', message, taker)
    expect(`${refused.code} ${refused.err}`).to.match(
      /^2 kolbak: The message was routed to this webhook: prove its delivery [0-9a-f-]{36} instead\. \(was_routed\)/,
    )
  })
  it('of the whole log is an export, which is checked offline', async () => {
    await forgedEvent()
    const folder = join(services.dataDir, ulid())
    const done = await kolbak('audit', 'export', folder, '--attempts')
    expect(done.out).to.match(
      new RegExp(
        `^\\d+ events and \\d+ batch(es)? written to ${folder}\\. \\d+ events? of them (is|are) forged or altered\\.( \\d+ attempts? of them (is|are) forged or altered\\.)?\n$`,
      ),
    )
    expect(done.code).to.equal(1)
    const { key } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'))
    const { code, out } = verify(folder, '--key', key)
    expect(out).to.match(
      /^The export contains all \d+ entries of kolbak\/\w+, in \d+ streams without a gap\.\nIt contains all \d+ attempts and routing events/,
    )
    expect(out).to.match(/\nThe entry \d+ is forged or altered: Kolbak has not written it like this\.\nNot proven\.\n$/)
    expect(code).to.equal(1)
    // The anchor file has heads from before the newest one, and the export contains all of them.
    const { size } = openHead(JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')).head, key)!
    const [anchored] = (await readAnchor(join(services.dataDir, 'log-anchor.jsonl'), key)).filter((head) => head.size < size)
    const kept = fileOf('heads-of-export.jsonl', `{}\n${JSON.stringify({ note: anchored?.note })}\n`)
    expect(verify(folder, kept).out).to.include(`The log still contains the ${anchored?.size} events of the head in ${kept}, unchanged.`)
    expect((await kolbak('audit', 'export', folder)).err).to.include('folder_not_empty')
    const entries = join(folder, 'entries.jsonl')
    const batch = join(folder, 'batches', readdirSync(join(folder, 'batches'))[0]!)
    const hashOf = (line: string) => JSON.stringify(createHash('sha256').update(`\u0000${line}`).digest('base64'))
    const swapped = (lines: string[]) => [lines[1]!, lines[0]!, ...lines.slice(2)]
    for (const [file, alter] of [
      [entries, swapped],
      [entries, (lines: string[]) => lines.slice(0, -1)],
      [entries, (lines: string[]) => lines.toSpliced(2, 1)],
      [entries, (lines: string[]) => lines.map((line) => line.replace('client:admin', 'client:other'))],
      [entries, (lines: string[]) => lines.with(1, hashOf(lines[1]!))],
      [batch, (lines: string[]) => lines.slice(1)],
      [batch, (lines: string[]) => lines.map((line) => line.replace('"time":"2', '"time":"3'))],
    ] as const) {
      const text = readFileSync(file, 'utf8')
      writeFileSync(file, `${alter(text.trimEnd().split('\n')).join('\n')}\n`)
      expect(verify(folder, '--key', key).code, alter.toString()).to.equal(1)
      writeFileSync(file, text)
    }
    rmSync(batch)
    expect(verify(folder, '--key', key).code).to.equal(1)
  })
  it('of one tenant is an export that shows hashes of the events of others', async () => {
    const folder = join(services.dataDir, ulid())
    const { data } = await api.post<{ data: { id: string } }>('/v1/tenants', { name: ulid() })
    await waitFor(async () => {
      const [log] = await sql(
        'select (select max(size) from log_heads)::int as size, (select max(index) from audit_events where tenant = $1)::int as last',
        [data.id],
      )
      const [list] = await sql(`select index, data from audit_events where type = 'StreamsListed' order by index desc limit 1`)
      return log?.last !== null && log?.size > list?.index && JSON.parse(list.data).size > log?.last
    })
    expect((await kolbak('audit', 'export', folder, '--tenant', data.id)).err).to.equal('')
    const text = readFileSync(join(folder, 'entries.jsonl'), 'utf8')
    expect(text).to.include(data.id).and.not.include(webhook)
    const { code, out } = verify(folder, '--key', JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')).key)
    expect(out).to.match(new RegExp(`\\d+ of them are of tenant ${data.id} or of the log itself, by the word of Kolbak\\.`))
    expect(out).to.match(new RegExp(`It shows each event of tenant ${data.id} that the log had at 20.*Z, when the log listed them`))
    expect(code).to.equal(0)
    // Somebody with the master key hides an event of the tenant, and signs that it is the event of another tenant.
    const lines = text.trimEnd().split('\n')
    const hidden = lines.findLastIndex((line) => line.startsWith(`["command/1","tenant-${data.id}"`))
    const forged = `${lines.with(hidden, JSON.stringify(createHash('sha256').update(`\u0000${lines[hidden]}`).digest('base64'))).join('\n')}\n`
    const manifestPath = join(folder, 'manifest.json')
    const manifest = JSON.parse(readFileSync(manifestPath, 'utf8'))
    const digestOf = (content: string) => createHash('sha256').update(content).digest('hex')
    const [confirmed] = manifest.confirmed.split('\n\n')
    const signed = (await keysOfLog()).signer.signText(`${confirmed.replace(digestOf(text), digestOf(forged))}\n`)
    writeFileSync(join(folder, 'entries.jsonl'), forged)
    writeFileSync(manifestPath, JSON.stringify({ ...manifest, confirmed: signed }))
    const lie = verify(folder, '--key', manifest.key)
    expect(lie.out).to.include(`The export does not show each event of tenant ${data.id} that the log had at `)
    expect(lie.code).to.equal(1)
  })
  it('is refused for a folder or a database without data, and nothing is created there', async () => {
    const folder = join(services.dataDir, 'empty')
    for (const command of [['verify'], ['head'], ['prove', eventId]]) {
      const { code, err } = await runProgram('cli/kolbak.ts', ['audit', ...command], { KOLBAK_DATA_DIR: folder })
      expect(`${code} ${err}`).to.equal(
        `2 kolbak: ${folder} holds no data of Kolbak: set KOLBAK_DATA_DIR or DATABASE_URL as the service has it. (no_database)\n`,
      )
    }
    expect(existsSync(folder)).to.equal(false)
    const other = services.db.url.replace(/\/[^/]*$/, '/postgres')
    const { code, err } = await runProgram('cli/kolbak.ts', ['audit', 'verify'], { ...(await environment()), DATABASE_URL: other })
    expect(`${code} ${err}`).to.match(/^2 kolbak: DATABASE_URL leads to a database without data of Kolbak/)
  })
  it('needs a verifier that uses nothing but Node', () => {
    const imports = [...readFileSync(verifier, 'utf8').matchAll(/from '([^']+)'/g)].map(([, name]) => name)
    expect(imports.filter((name) => !name?.startsWith('node:'))).to.deep.equal([])
  })
})
