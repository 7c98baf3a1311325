// Messages with a buffer before them: appended there, changed where they are, and read from both.
import { Cache, Duration, Effect, Exit, type Result } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { asSent, type Message, type MessageNotFound, ThreadNotFound } from "../../domain/Message.ts"
import type { Role, StorageUnavailable } from "../../domain/Room.ts"
import { answered, assigned, deleted, edited, isUnanswered, messageEvent, reacted } from "../rooms/MessageRules.ts"
import type { MessagesPart } from "../rooms/Parts.ts"
import type { Committed, NewMessage, Repository } from "../rooms/Repository.ts"
import type { Durable } from "./Durable.ts"
import { readPage } from "./MergedPage.ts"
import type { UnflushedWrites } from "./UnflushedWrites.ts"
import type { BufferedMessage, WriteBuffer } from "./WriteBuffer.ts"
import type { Lease, WriteMode } from "./WriteMode.ts"
import { uncertain, type WriteRouting } from "./WriteRouting.ts"

/** A message that many change at once is changed by one after the other; who was late tries again, after up to so many ms each. */
const attempts = 60
const patienceMs = 20
const maxThreads = 20_000

const all = { before: undefined, limit: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER }

const told = <A>(value: A): Committed<A> => ({ value, changes: [] })

interface Parts {
  readonly acknowledged: UnflushedWrites["Service"]
  readonly buffer: WriteBuffer["Service"]
  readonly durable: Durable["Service"]
  readonly leases: WriteMode["Service"]
  readonly routing: WriteRouting["Service"]
}

export const makeBufferedMessages = Effect.fnUntraced(function* ({
  acknowledged,
  buffer,
  durable,
  leases,
  routing
}: Parts): Effect.fn.Return<MessagesPart> {
  const { insert, read, unlessFull, update } = routing

  const threads = yield* Cache.makeWith(durable.roomOfThread, {
    capacity: maxThreads,
    timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
  })

  const keptBefore = Effect.fnUntraced(function* (roomId: string, messageId: string) {
    const waiting = yield* buffer.message(roomId, messageId)
    return waiting === undefined ? yield* durable.message(roomId, messageId) : waiting.message
  })

  const sendMessage: Repository["Service"]["sendMessage"] = (wanted: NewMessage) => {
    const { key, ...rest } = wanted
    const { messageId, roomId, threadId } = wanted
    const message = asSent(rest)
    const buffered = Effect.fnUntraced(function* ({ isConfirmed }: Lease) {
      if (threadId !== null && (yield* Cache.get(threads, threadId)) !== roomId) return yield* new ThreadNotFound()
      // The buffer remembers keys for a day, and none from before it was lost; a key is part of its message's id.
      if (key !== undefined && isConfirmed) {
        const saved = yield* Effect.catchTag(
          durable.message(roomId, messageId),
          "StorageUnavailable",
          () => Effect.undefined
        )
        if (saved !== undefined) return told((yield* keptBefore(roomId, messageId)) ?? saved)
      }
      const appended = yield* buffer.append(message, key, messageEvent("message.sent", message)).pipe(
        Effect.catchIf(
          ({ isSent }) => isSent,
          () => Effect.undefined
        )
      )
      // Should the buffer have it after all: its id is the same, and Postgres keeps it once.
      if (appended === undefined) return yield* Effect.andThen(leases.suspect(), durable.sendMessage(wanted))
      if ("sameAs" in appended) return told((yield* keptBefore(roomId, appended.sameAs)) ?? message)
      acknowledged.message({ version: 0, ordinal: appended.ordinal, key: key ?? null, message })
      leases.added(1)
      return told(message)
    })
    return unlessFull(insert(buffered, durable.sendMessage(wanted)))
  }

  /** Changes a message where it is: in the buffer, or behind it. */
  const change = <A, E, E2>(
    [roomId, messageId]: readonly [roomId: string, messageId: string],
    type: "message.edited" | "message.deleted" | "message.reacted",
    actor: Actor,
    apply: (message: Message) => Effect.Effect<Message | undefined, E>,
    toValue: (message: Message) => A,
    behind: Effect.Effect<Committed<A>, E2>
  ) => {
    const buffered = Effect.gen(function* () {
      for (let tried = 0; tried < attempts; tried++) {
        if (tried > 0) yield* Effect.sleep(Math.min(tried, patienceMs) * Math.random())
        const entry: BufferedMessage | undefined = yield* buffer.message(roomId, messageId)
        if (entry === undefined) return yield* behind
        const after = yield* apply(entry.message)
        if (after === undefined) return told(toValue(entry.message))
        const next = { ...entry, version: entry.version + 1, message: after }
        if (yield* buffer.replace(next, { type, at: actor.at, event: messageEvent(type, after) })) {
          acknowledged.message(next)
          return told(toValue(after))
        }
      }
      return yield* uncertain()
    })
    return update(() => buffered, behind)
  }
  const itself = (message: Message) => message

  const roleOf = (roomId: string, user: string): Effect.Effect<Role | undefined, StorageUnavailable> =>
    durable.member(roomId, user).pipe(
      Effect.map(({ role }) => role),
      Effect.catchTags({
        NotAMember: () => Effect.succeed(undefined),
        RoomNotFound: () => Effect.succeed(undefined)
      })
    )

  return {
    sendMessage,
    editMessage: (roomId, messageId, body, actor) =>
      change(
        [roomId, messageId],
        "message.edited",
        actor,
        (message) => Effect.fromResult(edited(body, actor)(message)),
        itself,
        durable.editMessage(roomId, messageId, body, actor)
      ),
    deleteMessage: (roomId, messageId, actor) =>
      change(
        [roomId, messageId],
        "message.deleted",
        actor,
        Effect.fnUntraced(function* (message) {
          const role = message.author === actor.user ? undefined : yield* roleOf(roomId, actor.user)
          const result: Result.Result<Message | undefined, MessageNotFound> = deleted(role, actor)(message)
          return yield* Effect.fromResult(result)
        }),
        () => undefined,
        durable.deleteMessage(roomId, messageId, actor)
      ),
    react: (roomId, messageId, emoji, adds, actor) =>
      change(
        [roomId, messageId],
        "message.reacted",
        actor,
        (message) => Effect.fromResult(reacted(emoji, adds, actor)(message)),
        itself,
        durable.react(roomId, messageId, emoji, adds, actor)
      ),
    messages: (roomId, page) =>
      read(
        () =>
          readPage(
            page,
            (query) => buffer.messages(roomId, query),
            (asked) => durable.messages(roomId, asked)
          ),
        durable.messages(roomId, page)
      ),
    message: (roomId, messageId) => read(() => keptBefore(roomId, messageId), durable.message(roomId, messageId)),
    assignThread: (roomId, messageId, threadId, actor) =>
      change(
        [roomId, messageId],
        "message.edited",
        actor,
        (message) =>
          Effect.flatMap(
            Cache.get(threads, threadId),
            (room): Effect.Effect<Message | undefined, ThreadNotFound> =>
              room === roomId ? Effect.fromResult(assigned(threadId)(message)) : Effect.fail(new ThreadNotFound())
          ),
        itself,
        durable.assignThread(roomId, messageId, threadId, actor)
      ),
    markAnswered: (roomId, messageId, answer, actor) =>
      change(
        [roomId, messageId],
        "message.edited",
        actor,
        (message) => Effect.fromResult(answered(answer, actor)(message)),
        itself,
        durable.markAnswered(roomId, messageId, answer, actor)
      ),
    unanswered: (roomId, author, body) =>
      read(
        Effect.fnUntraced(function* () {
          const { entries: waiting } = yield* buffer.messages(roomId, {
            ...all,
            holding: ['"kind":"prompt"', `"author":${JSON.stringify(author)}`]
          })
          const isIt = isUnanswered(author, body)
          const here = waiting.findLast(({ message }) => isIt(message))
          if (here !== undefined) return here.message
          const saved = yield* durable.unanswered(roomId, author, body)
          // What waits is never older than what is saved.
          return waiting.some(({ message }) => message.messageId === saved?.messageId) ? undefined : saved
        }),
        durable.unanswered(roomId, author, body)
      ),
    roomOfMessage: (messageId) =>
      read(
        () =>
          Effect.flatMap(buffer.roomOfMessage(messageId), (roomId) =>
            roomId === undefined ? durable.roomOfMessage(messageId) : Effect.succeed(roomId)
          ),
        durable.roomOfMessage(messageId)
      )
  }
})
