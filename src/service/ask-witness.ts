import type { Pool } from 'pg'
import { codeOf, KolbakError } from '../lib/errors.ts'
import { cosignedAt } from '../lib/log-signer.ts'
import { consistencyProof } from '../lib/merkle.ts'
import { inSnapshot } from '../lib/sql.ts'
import type { WitnessAddress } from '../lib/witness.ts'
import { readLogNodes } from '../projections/audit.ts'
import { type KeptHead, logForked } from '../projections/log-heads.ts'

const timeoutMs = 10_000

/**
 * Returns the line that a witness adds to the note of a head. A witness signs only what extends the heads that it has signed before, so it notices a
 * changed log. Throws KolbakError `log_forked` if the witness has seen another log, and `witness_failed`.
 */
export async function askWitness(pool: Pool, head: KeptHead, { vkey, url }: WitnessAddress): Promise<string> {
  // The witness knows which head it has signed last, so it is asked first.
  let signedSize = 0
  for (let tries = 0; tries < 3; tries++) {
    const { status, body } = await send(`${url}/add-checkpoint`, await requestOf(pool, head, signedSize))
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

async function requestOf(pool: Pool, head: KeptHead, signedSize: number): Promise<string> {
  const proof = signedSize === 0 ? [] : await inSnapshot(pool, (sql) => consistencyProof(readLogNodes(sql), signedSize, head.size))
  return `old ${signedSize}\n${proof.map((hash) => `${hash.toString('base64')}\n`).join('')}\n${head.note}`
}

async function send(url: string, body: string): Promise<{ status: number; body: string }> {
  try {
    const response = await fetch(url, { method: 'POST', body, signal: AbortSignal.timeout(timeoutMs), redirect: 'error' })
    return { status: response.status, body: await response.text() }
  } catch (cause) {
    throw new KolbakError('witness_failed', `The witness ${url} cannot be reached (${codeOf(cause) ?? String(cause)}).`, { cause })
  }
}
