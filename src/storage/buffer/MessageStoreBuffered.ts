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
import { type ChangeMessage, MessageStore, messageChanges, type NewMessage } from "../rooms/MessageStore.ts"
import { changed, isUnanswered, messageEvent } from "../rooms/RoomRules.ts"
import { ThreadStore } from "../rooms/ThreadStore.ts"
import { readPage } from "./MergedPage.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"
import { WriteBuffer } from "./WriteBuffer.ts"
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
    const sendToBuffer = Effect.fnUntraced(function* (wanted: NewMessage, { isConfirmed }: Lease) {
      const { key, ...rest } = wanted
      const { messageId, roomId, threadId } = wanted
      const message = asSent(rest)
      if (threadId !== null && !(yield* isInRoom(roomId)(threadId))) return yield* new ThreadNotFound()
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
      const appended = yield* buffer.append(message, key, messageEvent("message.sent", message)).pipe(
        Effect.catchIf(
          ({ isSent }) => isSent,
          () => Effect.undefined
        )
      )
      // The outcome is unknown. If the buffer has it, too, the id is the same, and Postgres stores it once.
      if (appended === undefined) return yield* Effect.andThen(mode.suspect(), behind.send(wanted))
      if ("sameAs" in appended) return published((yield* findInBoth(roomId, appended.sameAs)) ?? message)
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
      page: (roomId, query) =>
        routing.read(
          () =>
            readPage(
              query,
              (asked) => buffer.messages(roomId, asked),
              (asked) => behind.page(roomId, asked)
            ),
          behind.page(roomId, query)
        ),
      find: (roomId, messageId) => routing.read(() => findInBoth(roomId, messageId), behind.find(roomId, messageId)),
      unanswered: (roomId, author, body) =>
        routing.read(
          Effect.fnUntraced(function* () {
            const { entries } = yield* buffer.messages(roomId, {
              ...everything,
              holding: ['"kind":"prompt"', `"author":${JSON.stringify(author)}`]
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
