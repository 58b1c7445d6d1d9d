import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { ApiError } from './errors.ts'

/** Thrown when the caller hung up before its request was complete. No response can be sent. */
export class CallerGone extends Error {
  readonly code = 'caller_gone'
}

/** The largest body of a route that sets no limit, in bytes. */
export const defaultBodyLimit = 64 * 1024
export const bodyTooLarge = (limit: number) =>
  new ApiError('body_too_large', `The body is larger than ${limit} bytes, which is the limit of this route.`)

/**
 * Returns the whole body. Its bytes are counted while they arrive, because a caller need not announce their number.
 * Throws CallerGone, or body_too_large. Node then discards the rest of the body until the time limit of the request.
 */
export function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  const announced = req.headers['content-length']
  if (announced !== undefined && Number(announced) > limit) return Promise.reject(bodyTooLarge(limit))
  // The caller hung up while its credential was looked up. Node has emitted the event for this already.
  if (req.destroyed) return Promise.reject(new CallerGone('the caller hung up'))
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = []
    let size = 0
    const stopListening = () => {
      chunks = []
      req.off('data', onData).off('end', onEnd).off('close', onClose)
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) {
        chunks.push(chunk)
        return
      }
      stopListening()
      req.resume()
      reject(bodyTooLarge(limit))
    }
    const onEnd = () => {
      const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size)
      stopListening()
      resolve(whole)
    }
    const onClose = () => {
      stopListening()
      reject(new CallerGone('the caller hung up'))
    }
    req.on('data', onData).on('end', onEnd).on('close', onClose)
    req.on('error', onClose)
  })
}

const byteOrderMark = Buffer.from('\ufeff')

/** Returns the parsed body. Throws invalid_json when it is not JSON in UTF-8. */
export function parseJson(raw: Buffer): unknown {
  if (raw.length === 0) throw new ApiError('invalid_json', 'The body is empty: it must be JSON.')
  if (raw.subarray(0, byteOrderMark.length).equals(byteOrderMark))
    throw new ApiError('invalid_json', 'The body begins with a byte order mark (EF BB BF): send it without these three bytes.')
  if (!isUtf8(raw)) throw new ApiError('invalid_json', 'The body is not UTF-8.')
  try {
    return JSON.parse(raw.toString())
  } catch (cause) {
    // The parser's own message quotes the body, which may contain secrets.
    throw new ApiError('invalid_json', 'The body is not valid JSON.', { cause })
  }
}

/** Returns the media type in lower case, without parameters. Throws unsupported_media_type when it is not accepted, or the body is not plain UTF-8. */
export function requireMediaType(headers: IncomingMessage['headers'], accepted: readonly string[]): string {
  const header = headers['content-type'] ?? ''
  // Nearly all callers send exactly an accepted type, so that no parsing is needed.
  if (accepted.includes(header) && headers['content-encoding'] === undefined) return header
  const [type = '', ...params] = header.split(';').map((part) => part.trim().toLowerCase())
  const charset = params.find((param) => param.startsWith('charset='))?.slice('charset='.length)
  const encoding = headers['content-encoding']
  if (!accepted.includes(type)) throw new ApiError('unsupported_media_type', `The body must be ${accepted.join(' or ')}.`)
  if (charset !== undefined && !/^"?utf-?8"?$/.test(charset)) throw new ApiError('unsupported_media_type', 'The body must be in UTF-8.')
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new ApiError('unsupported_media_type', 'The body must not be compressed: send it without Content-Encoding.')
  return type
}
