// Lists as JSON text: encoded once, limited in number and bytes. A list in parts is ordered by time and id, each part
// starting after the last item of the part before.
import { entryBytes, heapBytes } from "../domain/HeapBytes.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import type { MethodName, Params, Result } from "../protocol/methods/Methods.ts"
import type { ListQuery } from "../storage/rooms/ListPart.ts"

/** Bytes of a list in one reply. Every item is smaller: a message has at most about 200 kB. */
export const pageBytes = 262_144
/** Items of a part, unless the request asks for fewer, or they are too many bytes. */
const maxItems = 1000

/** The methods that answer with a part of a list, and what it is called in the reply. */
const names = {
  "contacts.list": "contacts",
  "presence.list": "present",
  "rooms.list": "rooms",
  "rooms.participants": "participants",
  "threads.list": "threads"
} as const

/** `cursor`: the `next` of the part before. */
export type ListParams = Params<"rooms.list">
export type Reply<Method extends MethodName> = EncodedJson<Result<Method>>

type KeyOf<A> = (item: A) => readonly [at: string, id: string]

export interface JsonPage {
  /** The items as JSON, with commas between them. */
  readonly text: string
  /** The offset of each item in the text. */
  readonly starts: ReadonlyArray<number>
  /** Whether there are others, older or later ones. */
  readonly more: boolean
  /** Read around the write buffer (MessageStore.ts). */
  readonly isDirect?: boolean
}

const join = (texts: ReadonlyArray<string>, more: boolean): JsonPage => {
  let at = 0
  const starts = texts.map((text) => {
    const start = at
    at += text.length + 1
    return start
  })
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
  return { ...page, text: text.slice(from), starts: lastStarts.map((start) => start - from), more: true }
}

/** Bytes in memory. */
export const bytesOf = ({ starts, text }: JsonPage): number => heapBytes(text) + 8 * starts.length + entryBytes

/** Reads one item more than the reply has: it shows whether there are more. */
export const toQuery = ({ cursor, limit = maxItems }: ListParams): ListQuery => {
  const [at = "", ...id] = cursor?.split(" ") ?? []
  return { after: cursor === undefined ? undefined : { at, id: id.join(" ") }, limit: limit + 1, maxBytes: pageBytes }
}

/** `{NAME: [item, …], more, next}` */
export const listed = <Method extends keyof typeof names, A>(
  method: Method,
  found: ReadonlyArray<A>,
  { limit = maxItems }: ListParams,
  keyOf: KeyOf<A>
): Reply<Method> => {
  const { more, starts, text } = firstOf(found, limit)
  const last = found[starts.length - 1]
  const next = more && last !== undefined ? keyOf(last).join(" ") : null
  return new EncodedJson(`{"${names[method]}":[${text}],"more":${more},"next":${JSON.stringify(next)}}`)
}
