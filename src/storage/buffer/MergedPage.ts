// A page of messages merged from two sources: the messages in the write buffer, and those in the store behind it.
import { Effect } from "effect"
import type { MessagePage, MessageQuery } from "../rooms/MessageStore.ts"
import type { Waiting, WaitingQuery } from "./WriteBuffer.ts"

/** What the JSON text of a buffered message contains if it is in the thread. */
const inThread = (threadId: string | undefined) =>
  threadId === undefined ? undefined : [`"threadId":${JSON.stringify(threadId)}`]

/**
 * `buffered` was read before `stored`, so a message that was flushed in between is in both. The buffered version of a
 * message is never the older one.
 */
const merge = ({ limit, threadId }: MessageQuery, buffered: Waiting, stored: MessagePage): MessagePage => {
  const end = buffered.end ?? stored.end ?? Number.POSITIVE_INFINITY
  const { messages, more, ordinals } = stored
  const byId = new Map(messages.map((message, n) => [message.messageId, { message, ordinal: ordinals[n] ?? 0 }]))
  for (const { message, ordinal } of buffered.entries) {
    if (ordinal < end && (threadId === undefined || message.threadId === threadId)) {
      byId.set(message.messageId, { message, ordinal })
    }
  }
  // One of the sources has messages below this that were not read.
  const floor = Math.max(buffered.from ?? 0, more ? (ordinals[0] ?? 0) : 0)
  const all = [...byId.values()].filter(({ ordinal }) => ordinal >= floor).sort((a, b) => a.ordinal - b.ordinal)
  const page = all.slice(Math.max(0, all.length - limit))
  return {
    messages: page.map(({ message }) => message),
    ordinals: page.map(({ ordinal }) => ordinal),
    more: more || buffered.from !== undefined || page.length < byId.size,
    end: stored.end
  }
}

/**
 * Reads only the part of the buffer that the page can contain: nothing if the page ends before the oldest buffered
 * message, as pages of older messages usually do.
 */
export const readPage = <E, E2>(
  query: MessageQuery,
  readBuffer: (query: WaitingQuery) => Effect.Effect<Waiting, E>,
  readStore: (query: MessageQuery) => Effect.Effect<MessagePage, E2>
): Effect.Effect<MessagePage, E | E2> => {
  const { before, limit, maxBytes = Number.MAX_SAFE_INTEGER, threadId } = query
  const bufferedBefore = (end: string | number | undefined) =>
    // One more shows whether there are older ones.
    readBuffer({ before: end, limit: limit + 1, maxBytes, holding: inThread(threadId) })
  const mergedBefore = (end: number | undefined, buffered: Waiting) =>
    Effect.map(readStore({ ...query, before: end }), (stored) => merge(query, buffered, stored))
  return Effect.flatMap(bufferedBefore(before), (buffered) => {
    const { end, oldest } = buffered
    if (oldest === undefined) return readStore(query)
    if (typeof before !== "string") return mergedBefore(before, buffered)
    if (end !== undefined) return mergedBefore(end, buffered)
    // The message `before` is not buffered: only the store knows its ordinal.
    return Effect.flatMap(readStore(query), (stored) => {
      const storedEnd = stored.end
      if (storedEnd === undefined || storedEnd <= oldest) return Effect.succeed(stored)
      return Effect.flatMap(bufferedBefore(storedEnd), (newer) => mergedBefore(storedEnd, newer))
    })
  })
}
