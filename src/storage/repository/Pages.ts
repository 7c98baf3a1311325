// A page of messages out of two places: those that wait in a buffer, and those behind it.
import { Effect } from "effect"
import type { MessagePage, MessageQuery } from "../Repository.ts"
import type { BufferedMessage } from "../RoomBuffer.ts"

/** `waiting`: what the buffer had before the repository is asked. The waiting form of a message is never the older one. */
export const mergePage = <E>(
  waiting: ReadonlyArray<BufferedMessage>,
  page: MessageQuery,
  read: (page: MessageQuery) => Effect.Effect<MessagePage, E>
): Effect.Effect<MessagePage, E> => {
  if (waiting.length === 0) return read(page)
  const { before, limit, threadId } = page
  const last = before === undefined ? undefined : waiting.find(({ message }) => message.messageId === before)
  const asked = last === undefined ? page : { limit, threadId, beforePosition: last.position }
  return Effect.map(read(asked), ({ end, messages, more, positions }) => {
    const until = last?.position ?? end ?? Number.POSITIVE_INFINITY
    const byId = new Map(messages.map((message, n) => [message.messageId, { message, position: positions[n] ?? 0 }]))
    for (const { message, position } of waiting) {
      if (position < until && (threadId === undefined || message.threadId === threadId)) {
        byId.set(message.messageId, { message, position })
      }
    }
    const all = [...byId.values()].sort((a, b) => a.position - b.position)
    const shown = all.slice(Math.max(0, all.length - limit))
    return {
      messages: shown.map(({ message }) => message),
      positions: shown.map(({ position }) => position),
      more: more || all.length > limit,
      end
    }
  })
}
