// A page of messages out of two places: those that wait in a buffer, and those behind it.
import { Effect } from "effect"
import type { MessagePage, MessageQuery } from "../rooms/Repository.ts"
import type { Waiting, WaitingQuery } from "./WriteBuffer.ts"

/** What the JSON text of a message that waits must have in it, to be in the thread. */
const inThread = (threadId: string | undefined) =>
  threadId === undefined ? undefined : [`"threadId":${JSON.stringify(threadId)}`]

/** `waiting` is what the buffer had before the repository is asked. The waiting form of a message is never the older one. */
const merge = ({ limit, threadId }: MessageQuery, waiting: Waiting, saved: MessagePage): MessagePage => {
  const until = waiting.end ?? saved.end ?? Number.POSITIVE_INFINITY
  const { messages, more, ordinals } = saved
  const byId = new Map(messages.map((message, n) => [message.messageId, { message, ordinal: ordinals[n] ?? 0 }]))
  for (const { message, ordinal } of waiting.entries) {
    if (ordinal < until && (threadId === undefined || message.threadId === threadId)) {
      byId.set(message.messageId, { message, ordinal })
    }
  }
  // Below these there are messages that were not read.
  const floor = Math.max(waiting.from ?? 0, more ? (ordinals[0] ?? 0) : 0)
  const all = [...byId.values()].filter(({ ordinal }) => ordinal >= floor).sort((a, b) => a.ordinal - b.ordinal)
  const shown = all.slice(Math.max(0, all.length - limit))
  return {
    messages: shown.map(({ message }) => message),
    ordinals: shown.map(({ ordinal }) => ordinal),
    more: more || waiting.from !== undefined || shown.length < byId.size,
    end: saved.end
  }
}

/**
 * Of what waits only the part that may be in the page is read: none of it when the page ends before the oldest that waits, which
 * the usual page of older messages does.
 */
export const readPage = <E, E2>(
  page: MessageQuery,
  waitingOf: (query: WaitingQuery) => Effect.Effect<Waiting, E>,
  read: (page: MessageQuery) => Effect.Effect<MessagePage, E2>
): Effect.Effect<MessagePage, E | E2> => {
  const { before, beforeOrdinal, limit, threadId } = page
  const { maxBytes = Number.MAX_SAFE_INTEGER } = page
  const asked = (place: string | number | undefined): WaitingQuery => ({
    before: place,
    // One more says that there are older ones.
    limit: limit + 1,
    maxBytes,
    holding: inThread(threadId)
  })
  const mergedAt = (place: number | undefined, waiting: Waiting) =>
    Effect.map(read({ ...page, before: undefined, beforeOrdinal: place }), (saved) => merge(page, waiting, saved))
  return Effect.flatMap(waitingOf(asked(before ?? beforeOrdinal)), (waiting) => {
    if (waiting.oldest === undefined) return read(page)
    const { end, oldest } = waiting
    if (before === undefined) return mergedAt(beforeOrdinal, waiting)
    if (end !== undefined) return mergedAt(end, waiting)
    // It is saved, and only the repository knows its place.
    return Effect.flatMap(read(page), (saved) => {
      const place = saved.end
      if (place === undefined || place <= oldest) return Effect.succeed(saved)
      return Effect.flatMap(waitingOf(asked(place)), (older) => mergedAt(place, older))
    })
  })
}
