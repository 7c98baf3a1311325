// A list as it is answered: encoded once, ending where it has so many bytes. A part of it is cut out of the same text.
import { entryBytes, heapBytes } from "../domain/HeapBytes.ts"

/** Bytes of a list in one answer. Whatever is in a list is smaller: a message has at most about 200 kB. */
export const pageBytes = 262_144

export interface JsonPage {
  /** The items as JSON, with commas between them. */
  readonly text: string
  /** Where each of them begins. */
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

/** The last of them, as many as fit. */
export const lastOf = (items: ReadonlyArray<unknown>, limit: number, more: boolean): JsonPage => {
  const texts = fitting(items.toReversed(), limit)
  return join(texts.toReversed(), more || texts.length < items.length)
}

/** The first of them, as many as fit. */
export const firstOf = (items: ReadonlyArray<unknown>, limit: number): JsonPage => {
  const texts = fitting(items, limit)
  return join(texts, texts.length < items.length)
}

/** So many of its last items. */
export const lastItems = (page: JsonPage, count: number): JsonPage => {
  const { starts, text } = page
  if (starts.length <= count) return page
  const kept = starts.slice(-count)
  const from = kept[0] ?? text.length
  return { text: text.slice(from), starts: kept.map((start) => start - from), more: true }
}

/** What it takes in memory. */
export const bytesOf = ({ starts, text }: JsonPage): number => heapBytes(text) + 8 * starts.length + entryBytes
