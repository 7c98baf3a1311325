// A list as JSON text: encoded once, limited in bytes. A shorter list is cut out of the same text.
import { entryBytes, heapBytes } from "../domain/HeapBytes.ts"

/** Bytes of a list in one reply. Every item is smaller: a message has at most about 200 kB. */
export const pageBytes = 262_144

export interface JsonPage {
  /** The items as JSON, with commas between them. */
  readonly text: string
  /** The offset of each item in the text. */
  readonly starts: ReadonlyArray<number>
  /** Whether there are others, older or later ones. */
  readonly more: boolean
}

const join = (texts: ReadonlyArray<string>, more: boolean): JsonPage => {
  const starts: Array<number> = []
  let at = 0
  for (const text of texts) {
    starts.push(at)
    at += text.length + 1
  }
  return { text: texts.join(","), starts, more }
}

const fitting = (items: ReadonlyArray<unknown>, limit: number): ReadonlyArray<string> => {
  const texts: Array<string> = []
  let bytes = 0
  for (const item of items) {
    const text = JSON.stringify(item)
    bytes += Buffer.byteLength(text) + 1
    if (texts.length === limit || (texts.length > 0 && bytes > pageBytes)) break
    texts.push(text)
  }
  return texts
}

/** The last items, as many as fit. */
export const lastOf = (items: ReadonlyArray<unknown>, limit: number, more: boolean): JsonPage => {
  const texts = fitting(items.toReversed(), limit)
  return join(texts.toReversed(), more || texts.length < items.length)
}

/** The first items, as many as fit. */
export const firstOf = (items: ReadonlyArray<unknown>, limit: number): JsonPage => {
  const texts = fitting(items, limit)
  return join(texts, texts.length < items.length)
}

/** The last `count` items of a page. */
export const lastItems = (page: JsonPage, count: number): JsonPage => {
  const { starts, text } = page
  if (starts.length <= count) return page
  const lastStarts = starts.slice(-count)
  const from = lastStarts[0] ?? text.length
  return { text: text.slice(from), starts: lastStarts.map((start) => start - from), more: true }
}

/** Bytes in memory. */
export const bytesOf = ({ starts, text }: JsonPage): number => heapBytes(text) + 8 * starts.length + entryBytes
