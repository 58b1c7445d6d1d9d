import type { Config } from '../config/config.ts'
import { codeOf, KolbakError } from '../lib/errors.ts'
import type { Log } from '../lib/log.ts'
import { cosignedAt, openLogSigner } from '../lib/log-signer.ts'
import { consistencyProof } from '../lib/merkle.ts'
import { sqlOn } from '../lib/sql.ts'
import { readLogNodes } from '../projections/audit.ts'
import { type KeptHead, logForked } from '../projections/log-heads.ts'
import type { Shared } from '../service/shared.ts'
import { inSnapshot, requireHead } from './log-proofs.ts'
import { withShared } from './online.ts'

/** A witness: its key, and the URL before `/add-checkpoint`. */
export interface WitnessAddress {
  readonly vkey: string
  readonly url: string
}
const timeoutMs = 10_000

/** Reads `<key>@<url>`. Throws KolbakError `not_a_witness`. */
export function parseWitness(text: string): WitnessAddress {
  const [, vkey, url] = /^([^+@]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44})@(https?:\/\/\S+?)\/?$/.exec(text) ?? []
  if (vkey === undefined || url === undefined)
    throw new KolbakError('not_a_witness', `${text} must be the key of a witness, @, and its URL.`)
  return { vkey, url }
}

/**
 * Returns the newest head as a signed note, with the signatures of witnesses. A witness signs only what extends the heads that it has signed before, so it
 * notices a changed log. Throws KolbakError `log_forked` if a witness has seen another log, and `witness_failed`.
 */
export const cosignedHead = (config: Config, log: Log, witnesses: readonly WitnessAddress[]): Promise<string> =>
  withShared(
    config,
    log,
    async (shared) => {
      const { vkey } = await openLogSigner(shared.keyring)
      const head = await requireHead(sqlOn(shared.pools.reads), vkey)
      let note = head.note
      for (const witness of witnesses) note += await cosign(shared, head, witness)
      return note
    },
    { needsData: true },
  )

/** Returns the line that a witness adds to the note of a head. */
async function cosign(shared: Shared, head: KeptHead, { vkey, url }: WitnessAddress): Promise<string> {
  // The witness knows which head it has signed last, so it is asked first.
  let signedSize = 0
  for (let tries = 0; tries < 3; tries++) {
    const { status, body } = await send(`${url}/add-checkpoint`, await requestOf(shared, head, signedSize))
    if (status === 200) {
      const line = body.split('\n').find((text) => cosignedAt(`${head.note}${text}\n`, vkey) !== null)
      if (line === undefined) throw new KolbakError('witness_failed', `${url} signs with another key than ${vkey}.`)
      return `${line}\n`
    }
    if (status === 422) throw logForked(`The witness ${url} has signed a head of ${signedSize} that this log does not extend.`)
    const size = Number(body.trim())
    if (status !== 409 || !Number.isSafeInteger(size))
      throw new KolbakError('witness_failed', `${url} responded with ${status}: ${body.trim().slice(0, 200)}`)
    if (size > head.size)
      throw logForked(`The witness ${url} has signed a head of ${size}, but the newest head of this log has ${head.size}.`)
    if (size === signedSize) throw logForked(`The witness ${url} has signed another head of ${size}.`)
    signedSize = size
  }
  throw new KolbakError('witness_failed', `${url} signs heads of this log for somebody else at the same time: try again.`)
}

async function requestOf({ pools }: Shared, head: KeptHead, known: number): Promise<string> {
  const proof = known === 0 ? [] : await inSnapshot(pools.reads, (sql) => consistencyProof(readLogNodes(sql), known, head.size))
  return `old ${known}\n${proof.map((hash) => `${hash.toString('base64')}\n`).join('')}\n${head.note}`
}

async function send(url: string, body: string): Promise<{ status: number; body: string }> {
  try {
    const response = await fetch(url, { method: 'POST', body, signal: AbortSignal.timeout(timeoutMs), redirect: 'error' })
    return { status: response.status, body: await response.text() }
  } catch (cause) {
    throw new KolbakError('witness_failed', `The witness ${url} cannot be reached (${codeOf(cause) ?? String(cause)}).`, { cause })
  }
}
