// Messages behind a write buffer: a layer over MessageStore that gives the same service. A message is acknowledged
// when the buffer has it, and reaches the store behind in batches (Flusher.ts). It is changed where it is, in the
// buffer or in the store behind, and pages are merged from both.
//
// While the buffer can't be used (WriteMode.ts), operations go to the store behind directly: a change of a message
// only when no instance uses the buffer any more (WriteRouting.ts).
import { Effect, Layer } from "effect"
import { asSent, ThreadNotFound } from "../../domain/Message.ts"
import type { Committed } from "../rooms/Committed.ts"
import { MemberStore } from "../rooms/MemberStore.ts"
import {
  type ChangeMessage,
  type MessagePage,
  type MessageQuery,
  MessageStore,
  messageChanges,
  type NewMessage
} from "../rooms/MessageStore.ts"
import { changed, isUnanswered, messageEvent } from "../rooms/RoomRules.ts"
import { ThreadStore } from "../rooms/ThreadStore.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"
import { type Waiting, WriteBuffer } from "./WriteBuffer.ts"
import { type Lease, WriteMode } from "./WriteMode.ts"
import { uncertain, WriteRouting } from "./WriteRouting.ts"

/**
 * Many changes of one message at once: each that comes too late is tried again, after a random pause of up to 20 ms.
 */
const attempts = 60
const maxPauseMs = 20

const everything = { before: undefined, limit: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER }

/** The buffer published the change, if there was one, in the step that made it. */
const published = <A>(value: A): Committed<A> => ({ value, changes: [] })

/** What the JSON text of a buffered message contains if it is in the thread. */
const inThread = (threadId: string | undefined) =>
  threadId === undefined ? undefined : [`"threadId":${JSON.stringify(threadId)}`]

/**
 * `buffered` was read before `stored`, so a message that was flushed in between is in both. The buffered version of a
 * message is never the older one, but around the buffer (`isDirect`): there it may be, and only messages that are not
 * stored yet are taken from it.
 */
const merge = (
  { limit, threadId }: MessageQuery,
  buffered: Waiting,
  stored: MessagePage,
  isDirect: boolean
): MessagePage => {
  const end = buffered.end ?? stored.end ?? Number.POSITIVE_INFINITY
  const { messages, more, ordinals } = stored
  const byId = new Map(messages.map((message, n) => [message.messageId, { message, ordinal: ordinals[n] ?? 0 }]))
  for (const { message, ordinal } of buffered.entries) {
    if (isDirect && byId.has(message.messageId)) continue
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

export const layer = Layer.effect(
  MessageStore,
  Effect.gen(function* () {
    const behind = yield* MessageStore
    const buffer = yield* WriteBuffer
    const members = yield* MemberStore
    const mode = yield* WriteMode
    const routing = yield* WriteRouting
    const threads = yield* ThreadStore
    const unflushed = yield* UnflushedWrites

    const isInRoom = (roomId: string) => (threadId: string) =>
      threads.roomOf(threadId).pipe(
        Effect.map((found) => found === roomId),
        Effect.catchTag("ThreadNotFound", () => Effect.succeed(false))
      )

    const findInBoth = Effect.fnUntraced(function* (roomId: string, messageId: string) {
      const buffered = yield* buffer.message(roomId, messageId)
      return buffered === undefined ? yield* behind.find(roomId, messageId) : buffered.message
    })

    // Untraced, as it is on the hot path: Messages.send has the span.
    const sendToBuffer = Effect.fnUntraced(function* (wanted: NewMessage, { isConfirmed, number: lease }: Lease) {
      const { key, ...rest } = wanted
      const { messageId, roomId, threadId } = wanted
      const message = asSent(rest)
      if (threadId !== null && !(yield* isInRoom(roomId)(threadId))) {
        // A key that was sent before is answered with its message, whatever is sent with it.
        const before = key === undefined ? undefined : yield* findInBoth(roomId, messageId)
        return before === undefined ? yield* new ThreadNotFound() : published(before)
      }
      // The buffer knows the keys of one day, and none from before it lost its data. A keyed message has its id from
      // its key.
      if (key !== undefined && isConfirmed) {
        const stored = yield* Effect.catchTag(
          behind.find(roomId, messageId),
          "StorageUnavailable",
          () => Effect.undefined
        )
        if (stored !== undefined) return published((yield* findInBoth(roomId, messageId)) ?? stored)
      }
      const appended = yield* buffer.append(message, key, messageEvent("message.sent", message), lease).pipe(
        Effect.catchIf(
          ({ isSent }) => isSent,
          () => Effect.undefined
        )
      )
      // The outcome is unknown. If the buffer has it, too, the id is the same, and Postgres stores it once.
      if (appended === undefined) return yield* Effect.andThen(mode.suspect(), behind.send(wanted))
      if ("sameAs" in appended) {
        const entry = yield* buffer.message(roomId, appended.sameAs)
        if (entry === undefined) return published((yield* behind.find(roomId, appended.sameAs)) ?? message)
        // Its first sender may have no copy: it had no answer, or is gone.
        unflushed.message(entry)
        return published(entry.message)
      }
      unflushed.message({ version: 0, ordinal: appended.ordinal, key: key ?? null, message })
      mode.added(1)
      return published(message)
    })

    const roleOf = (roomId: string) => (user: string) =>
      members.get(roomId, user).pipe(
        Effect.map(({ role }) => role),
        Effect.catchTag(["NotAMember", "RoomNotFound"], () => Effect.undefined)
      )

    /** Changes a message where it is: in the buffer, or behind it. */
    const change: ChangeMessage = (roomId, messageId, change, same) => {
      const direct = same(behind)
      const buffered = Effect.gen(function* () {
        for (let tried = 0; tried < attempts; tried++) {
          if (tried > 0) yield* Effect.sleep(Math.min(tried, maxPauseMs) * Math.random())
          const entry = yield* buffer.message(roomId, messageId)
          if (entry === undefined) return yield* direct
          const after = yield* changed(entry.message, change, roleOf(roomId), isInRoom(roomId))
          if (after === undefined) return published(entry.message)
          const next = { ...entry, version: entry.version + 1, message: after }
          const { actor, type } = change
          if (yield* buffer.replace(next, { type, at: actor.at, event: messageEvent(type, after) })) {
            unflushed.message(next)
            return published(after)
          }
        }
        return yield* uncertain()
      })
      return routing.update(() => buffered, direct)
    }

    /**
     * Reads only the part of the buffer that the page can contain: nothing if the page ends before the oldest buffered
     * message, as pages of older messages usually do.
     */
    const readPage = (roomId: string, query: MessageQuery, isDirect = false) => {
      const { before, limit, maxBytes = Number.MAX_SAFE_INTEGER, threadId } = query
      const bufferedBefore = (end: string | number | undefined) =>
        // One more shows whether there are older ones.
        buffer.messages(roomId, { before: end, limit: limit + 1, maxBytes, containing: inThread(threadId) })
      const mergedBefore = (end: number | undefined, buffered: Waiting) =>
        Effect.map(behind.page(roomId, { ...query, before: end }), (stored) => merge(query, buffered, stored, isDirect))
      return Effect.gen(function* () {
        const buffered = yield* bufferedBefore(before)
        const { end, oldest } = buffered
        if (oldest === undefined) return yield* behind.page(roomId, query)
        if (typeof before !== "string") return yield* mergedBefore(before, buffered)
        if (end !== undefined) return yield* mergedBefore(end, buffered)
        // The message `before` is not buffered: only the store knows its ordinal.
        const stored = yield* behind.page(roomId, query)
        if (stored.end === undefined || stored.end <= oldest) return stored
        return yield* mergedBefore(stored.end, yield* bufferedBefore(stored.end))
      })
    }

    /**
     * While the buffer is not used, it may have messages that an instance acknowledged which died. They are read if it
     * answers: their events are past, and no later one brings them to a reader who missed them here.
     */
    const readAround = (roomId: string, query: MessageQuery) =>
      readPage(roomId, query, true).pipe(
        Effect.catchTag("BufferUnavailable", () => behind.page(roomId, query)),
        Effect.map((page): MessagePage => ({ ...page, isDirect: true }))
      )

    return MessageStore.of({
      ...messageChanges(change),
      send: (wanted) =>
        // Suspended: what the store behind makes of it is seldom needed.
        routing.unlessFull(
          routing.insert(
            (lease) => sendToBuffer(wanted, lease),
            Effect.suspend(() => behind.send(wanted))
          )
        ),
      page: (roomId, query) => routing.read(() => readPage(roomId, query), readAround(roomId, query)),
      find: (roomId, messageId) => routing.read(() => findInBoth(roomId, messageId), behind.find(roomId, messageId)),
      unanswered: (roomId, author, body) =>
        routing.read(
          Effect.fnUntraced(function* () {
            const { entries } = yield* buffer.messages(roomId, {
              ...everything,
              containing: ['"kind":"prompt"', `"author":${JSON.stringify(author)}`]
            })
            const isIt = isUnanswered(author, body)
            const buffered = entries.findLast(({ message }) => isIt(message))
            if (buffered !== undefined) return buffered.message
            const stored = yield* behind.unanswered(roomId, author, body)
            // A buffered version, which is never older than the stored one, was answered or deleted.
            return entries.some(({ message }) => message.messageId === stored?.messageId) ? undefined : stored
          }),
          behind.unanswered(roomId, author, body)
        ),
      roomOf: (messageId) =>
        routing.read(
          () =>
            Effect.flatMap(buffer.roomOfMessage(messageId), (roomId) =>
              roomId === undefined ? behind.roomOf(messageId) : Effect.succeed(roomId)
            ),
          behind.roomOf(messageId)
        )
    })
  })
)
