import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { ApiError } from './errors.ts'

/** The caller hung up before the request was whole: nobody is left to be answered. */
export class CallerGone extends Error {
  readonly code = 'caller_gone'
}

const tooLarge = (limit: number) => new ApiError('body_too_large', `The body is larger than ${limit} bytes, the most that is taken here.`)

/**
 * The whole body, counted while it is read: the length that a caller announces, or does not, is no bound.
 * Throws body_too_large (what still comes is discarded by Node until the request's time is up) or CallerGone.
 */
export function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  const announced = req.headers['content-length']
  if (announced !== undefined && Number(announced) > limit) return Promise.reject(tooLarge(limit))
  // Gone while the credential was looked up: no event would tell of it any more.
  if (req.destroyed) return Promise.reject(new CallerGone('the caller hung up'))
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = []
    let size = 0
    const stop = () => {
      chunks = []
      req.off('data', onData).off('end', onEnd).off('close', onClose)
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) {
        chunks.push(chunk)
        return
      }
      stop()
      req.resume()
      reject(tooLarge(limit))
    }
    const onEnd = () => {
      const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size)
      stop()
      resolve(whole)
    }
    const onClose = () => {
      stop()
      reject(new CallerGone('the caller hung up'))
    }
    req.on('data', onData).on('end', onEnd).on('close', onClose)
    req.on('error', onClose)
  })
}

/** Throws invalid_json for what is not JSON in UTF-8. */
export function parseJson(raw: Buffer): unknown {
  if (raw.length === 0) throw new ApiError('invalid_json', 'The body is empty: it must be JSON.')
  if (!isUtf8(raw)) throw new ApiError('invalid_json', 'The body is not UTF-8.')
  try {
    return JSON.parse(raw.toString())
  } catch (cause) {
    // The parser's own words quote the body, which may hold secrets.
    throw new ApiError('invalid_json', 'The body is not valid JSON.', { cause })
  }
}

/** The media type alone, lower case. Throws unsupported_media_type when it is none of these, or in another encoding than UTF-8. */
export function mediaType(headers: IncomingMessage['headers'], accepted: readonly string[]): string {
  const given = headers['content-type'] ?? ''
  if (accepted.includes(given) && headers['content-encoding'] === undefined) return given // as nearly all write it
  const [type = '', ...params] = given.split(';').map((part) => part.trim().toLowerCase())
  const charset = params.find((param) => param.startsWith('charset='))?.slice('charset='.length)
  const encoding = headers['content-encoding']
  if (!accepted.includes(type)) throw new ApiError('unsupported_media_type', `The body must be ${accepted.join(' or ')}.`)
  if (charset !== undefined && !/^"?utf-?8"?$/.test(charset)) throw new ApiError('unsupported_media_type', 'The body must be in UTF-8.')
  if (encoding !== undefined && encoding !== 'identity')
    throw new ApiError('unsupported_media_type', 'The body must not be compressed: send it without Content-Encoding.')
  return type
}
