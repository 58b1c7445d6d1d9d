import { KolbakError } from './errors.ts'
import { type Cosigner, openHead, readHead } from './log-signer.ts'
import { isConsistent } from './merkle.ts'

/** A witness: its key, and the URL before `/add-checkpoint`. */
export interface WitnessAddress {
  readonly vkey: string
  readonly url: string
}
/** Reads `<key>@<url>`. Throws KolbakError `not_a_witness`. */
export function parseWitness(text: string): WitnessAddress {
  const [, vkey, url] = /^([^+@]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44})@(https?:\/\/\S+?)\/?$/.exec(text) ?? []
  if (vkey === undefined || url === undefined)
    throw new KolbakError('not_a_witness', `${text} must be the key of a witness, @, and its URL.`)
  return { vkey, url }
}

/** The response of a witness to `add-checkpoint` (https://c2sp.org/tlog-witness). */
export interface WitnessResponse {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422
  readonly type: string
  readonly body: string
}
interface WitnessState {
  /** The keys of the logs, by their origins. */
  readonly logs: ReadonlyMap<string, string>
  readonly cosigner: Cosigner
  /** Returns the last head of a log that was cosigned, as a signed note, or null. */
  latest(origin: string): string | null
  /** Stores a head. The response is sent after this has resolved. */
  store(origin: string, note: string): Promise<void>
  /** Seconds since 1970. */
  now(): number
}

const plain = 'text/plain; charset=utf-8'
const refused = (status: 400 | 403 | 404 | 422, why: string): WitnessResponse => ({ status, type: plain, body: `${why}\n` })
const conflict = (size: number): WitnessResponse => ({ status: 409, type: 'text/x.tlog.size', body: `${size}\n` })

/** Cosigns a head if it extends the last one of its log. Calls must follow one another, because two at a time could both extend the same head. */
export async function addCheckpoint(body: string, { logs, cosigner, latest, store, now }: WitnessState): Promise<WitnessResponse> {
  const [, oldSize, lines = '', note = ''] = /^old (0|[1-9]\d{0,15})\n((?:[A-Za-z0-9+/]{43}=\n){0,63})\n([\s\S]*)$/.exec(body) ?? []
  const claimedHead = readHead(note)
  if (oldSize === undefined || claimedHead === null) return refused(400, 'The request has another form than add-checkpoint.')
  const vkey = logs.get(claimedHead.origin)
  if (vkey === undefined) return refused(404, `This witness does not know the log ${claimedHead.origin}.`)
  const head = openHead(note, vkey)
  if (head === null) return refused(403, `The head is not signed by the key ${vkey}.`)
  const proof = lines
    .split('\n')
    .slice(0, -1)
    .map((line) => Buffer.from(line, 'base64'))
  const old = Number(oldSize)
  if (old > head.size) return refused(400, `The old size ${old} is larger than the head of ${head.size}.`)
  const latestHead = readHead(latest(head.origin) ?? '')
  const latestSize = latestHead?.size ?? 0
  if (old !== latestSize) return conflict(latestSize)
  if (latestHead !== null && head.size === old && !latestHead.root.equals(head.root)) return conflict(latestSize)
  const isExtension = latestHead === null || old === 0 ? proof.length === 0 : isConsistent(latestHead, head, proof)
  if (!isExtension) return refused(422, `The log does not extend its head of ${old}.`)
  await store(head.origin, note)
  return { status: 200, type: plain, body: cosigner.cosign(note, now()) }
}
