import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib'
import { keptResponseBytes } from '../events/delivery.ts'

/**
 * Returns the first 4 KiB of a response body. If its headers name a compression or another charset, the body is converted to UTF-8. If the headers
 * are wrong, its bytes stay as they are.
 * @param body the beginning of the body as the receiver sent it
 */
export function readableBody(body: Buffer, contentType: string | undefined, contentEncoding: string | undefined): Buffer | Promise<Buffer> {
  if (body.length === 0) return body
  const decompressor = contentEncoding === undefined ? undefined : decompressors.get(contentEncoding.toLowerCase())?.(body)
  if (decompressor === undefined) return inUtf8(body.subarray(0, keptResponseBytes), contentType)
  return decompress(body, decompressor).then((bytes) => (bytes === null ? body.subarray(0, keptResponseBytes) : inUtf8(bytes, contentType)))
}

const options = { chunkSize: keptResponseBytes }
const decompressors = new Map<string, (body: Buffer) => Transform>([
  ['gzip', () => createGunzip(options)],
  ['x-gzip', () => createGunzip(options)],
  // Some senders leave out the header of zlib, which begins with 8 in the lower half of its first byte.
  ['deflate', (body) => ((body[0]! & 0x0f) === 8 ? createInflate(options) : createInflateRaw(options))],
  ['br', () => createBrotliDecompress(options)],
  ['zstd', () => createZstdDecompress(options)],
])

/** Returns the first 4 KiB of the decompressed text, or null if there is none. The input may be cut, and may expand to any size. */
function decompress(body: Buffer, decompressor: Transform): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    const finish = () => {
      decompressor.destroy()
      resolve(size === 0 ? null : Buffer.concat(chunks).subarray(0, keptResponseBytes))
    }
    decompressor.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size >= keptResponseBytes) finish()
    })
    decompressor.on('end', finish)
    decompressor.on('error', finish) // the input was cut, or is not compressed in this way
    decompressor.end(body)
  })
}

/** Returns the text in UTF-8. If the type names no charset, or an unknown one, the text stays as it is. */
function inUtf8(body: Buffer, contentType: string | undefined): Buffer {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType ?? '')?.[1]
  if (charset === undefined || /^utf-?8$/i.test(charset)) return body
  try {
    const text = Buffer.from(new TextDecoder(charset).decode(body))
    return text.length <= keptResponseBytes ? text : wholeCharacters(text)
  } catch {
    return body
  }
}

/** Cuts UTF-8 to 4 KiB, between two characters. */
function wholeCharacters(text: Buffer): Buffer {
  let end = keptResponseBytes
  while (end > 0 && (text[end]! & 0xc0) === 0x80) end--
  return text.subarray(0, end)
}
