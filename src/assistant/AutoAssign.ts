// Threads for messages that were sent without one, in rooms with `autoAssign`: behind the reply the `assign` integration picks
// one of the room's threads, or names a new one. A message whose assignment fails, comes too fast or finds the queue full
// stays as it is.
//
// Messages wait by room, ASSIGN_QUEUE of them together; a room is worked on by one worker at a time, over all instances (a
// lock), so that two messages about one thing don't make two threads of it. At most ASSIGN_RATE a minute and room are asked
// about, and USER_MODEL_RATE for one user. A restart forgets what waits.
import { Cache, Context, Duration, Effect, Exit, Layer, Option, Queue, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Fetch } from "../calls/fetch/Fetch.ts"
import { textOf } from "../calls/fetch/TextStream.ts"
import { Lookup } from "../calls/Lookup.ts"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { Locks } from "../cluster/locks/Locks.ts"
import { actorNow } from "../domain/Actor.ts"
import { IntegrationInvalidResponse } from "../domain/Integration.ts"
import { Category, type Message, type Thread, ThreadNotFound } from "../domain/Message.ts"
import { Title } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { Metrics } from "../observability/Metrics.ts"
import { OutboxRelay } from "../rooms/delivery/OutboxRelay.ts"
import { Messages } from "../rooms/Messages.ts"
import { Settings } from "../Settings.ts"
import { Repository } from "../storage/rooms/Repository.ts"
import { ModelRate } from "./ModelRate.ts"

/** Rooms at a time: so many slow integrations before other rooms wait. */
const workers = 32
/** Messages of a room that one worker takes before it sees to others. */
const maxInARow = 5
/** Threads that the integration chooses from: the newest that are not archived. */
const maxThreads = 200
/** How long a room's `autoAssign` is believed. */
const believed = "30 seconds"
const lockOptions = { ttl: "5 seconds", wait: "2 seconds" } as const

/** As PostgreSQL can keep it: a text that a model says went past the check of its answer. */
const isName = Schema.makeFilter((text: string) => text.trim() !== "" && !text.includes("\0") && text.isWellFormed())

/** A thread of the room's, a new one, or (null, or nothing) none. */
const Assignment = Schema.NullOr(
  Schema.Struct({
    threadId: Schema.optionalKey(Schema.NullOr(Schema.String)),
    title: Schema.optionalKey(Schema.NullOr(Title.check(isName))),
    category: Schema.optionalKey(Schema.NullOr(Category.check(isName)))
  })
)
const decodeAssignment = Schema.decodeUnknownOption(Assignment)
const decodeAssignmentText = Schema.decodeUnknownOption(Schema.fromJsonString(Assignment))

/** What waits of a message: its text is read when its turn comes. */
type Sent = Pick<Message, "author" | "messageId" | "roomId">

const sameTitle = (title: string) => {
  const wanted = title.trim().toLowerCase()
  return (thread: Thread) => thread.title.trim().toLowerCase() === wanted
}

export class AutoAssign extends Context.Service<AutoAssign, { readonly waiting: () => number }>()(
  "hotpath/assistant/AutoAssign"
) {
  static readonly layer = Layer.effect(
    AutoAssign,
    Effect.gen(function* () {
      const fetch = yield* Fetch
      const limits = yield* RateLimits
      const locks = yield* Locks
      const lookup = yield* Lookup
      const messages = yield* Messages
      const repository = yield* Repository
      const modelRate = yield* ModelRate
      const { announced } = yield* OutboxRelay
      const { ASSIGN_QUEUE, ASSIGN_RATE } = yield* Settings
      const { counters, gauge } = yield* Metrics
      const outcomes = counters(
        "assignments_total",
        "Messages that were to be assigned to threads, by outcome",
        "outcome"
      )

      const waiting = new Map<string, Array<Sent>>()
      let depth = 0
      gauge("assignments_waiting", "Messages waiting to be assigned to threads", () => depth)
      // Neither holds more than `depth`: a room is in it once, while messages of it wait.
      const sent = yield* Queue.unbounded<Sent>()
      const rooms = yield* Queue.unbounded<string>()

      const wantsIt = yield* Cache.makeWith(
        (roomId: string) => Effect.map(repository.room(roomId), ({ room }) => room.autoAssign),
        { capacity: 20_000, timeToLive: (exit) => (Exit.isSuccess(exit) ? believed : Duration.zero) }
      )

      /** As it is now, while it still wants a thread. */
      const unsettled = Effect.fnUntraced(function* ({ messageId, roomId }: Sent) {
        const present = yield* repository.message(roomId, messageId)
        if (present === undefined || present.threadId !== null || present.deletedAt !== null) return undefined
        return present
      })

      /** The thread that the integration names, made if it is new; or why none. */
      const choose = Effect.fnUntraced(function* (message: Message) {
        const { author, body, messageId, roomId } = message
        const target = yield* lookup.get("assign", author)
        const offered = yield* repository.threads(roomId, false)
        const input = {
          message: { messageId, author, body },
          threads: offered.slice(-maxThreads).map(({ category, threadId, title }) => ({ threadId, title, category }))
        }
        const answer = yield* fetch.exchange(target, input, JSON.stringify(input), 0)
        // A model says it in a text.
        const text = textOf(answer.body)
        const decoded = text === undefined ? decodeAssignment(answer.body) : decodeAssignmentText(text)
        if (Option.isNone(decoded)) return yield* new IntegrationInvalidResponse()
        const { category = null, threadId = null, title = null } = decoded.value ?? {}
        // Both may have changed while the model thought.
        if ((yield* unsettled(message)) === undefined) return "settled"
        const open = yield* repository.threads(roomId, false)
        const isIt = title === null ? () => false : sameTitle(title)
        const known = threadId === null ? open.find(isIt) : open.find((thread) => thread.threadId === threadId)
        if (known !== undefined) return known
        // Archived meanwhile; or, one that is not the room's, nonsense.
        if (offered.some((thread) => thread.threadId === threadId)) return yield* new ThreadNotFound()
        if (threadId !== null) return yield* new IntegrationInvalidResponse()
        if (title === null) return "none"
        const createdAt = yield* now
        const made = { threadId: SecureRandom.uuidV7Unsafe(), roomId, title, category, archived: false, createdAt }
        return yield* announced(repository.createThread(made, yield* actorNow(author)))
      })

      const assign = Effect.fn("AutoAssign.assign")(function* (message: Sent) {
        const { author, messageId, roomId } = message
        // First: whoever is over their own rate takes nothing of the room's.
        yield* modelRate.take(author)
        yield* limits.consume(`assign:${roomId}`, { name: "assign", limit: ASSIGN_RATE, window: "1 minute" })
        // It may have got a thread, or be gone, meanwhile.
        const present = yield* unsettled(message)
        if (present === undefined) return "settled"
        const thread = yield* choose(present)
        if (typeof thread === "string") return thread
        yield* announced(repository.assignThread(roomId, messageId, thread.threadId, yield* actorNow(author)))
        return "assigned"
      })

      const settle = (message: Sent) =>
        assign(message).pipe(
          Effect.catch(({ _tag }) => Effect.succeed<string>(_tag)),
          Effect.catchCause((cause) =>
            Effect.as(Effect.logError("a message was not assigned", cause), "InternalError")
          ),
          Effect.map((outcome) => outcomes(outcome).add())
        )

      const next = (roomId: string) =>
        Effect.sync(() => {
          const message = waiting.get(roomId)?.shift()
          if (message !== undefined) depth--
          return message
        })

      const some = (roomId: string, most: number): Effect.Effect<void> =>
        Effect.flatMap(next(roomId), (message) =>
          message === undefined
            ? Effect.void
            : Effect.andThen(
                settle(message),
                Effect.suspend(() => (most > 1 ? some(roomId, most - 1) : Effect.void))
              )
        )

      const work = (roomId: string) =>
        locks.withAdvisoryLock(`assign:${roomId}`, lockOptions, some(roomId, maxInARow)).pipe(
          // Another instance is at it: what waits goes on waiting.
          Effect.catchTag("LockBusy", () => Effect.void),
          Effect.andThen(
            Effect.suspend(() => {
              if ((waiting.get(roomId)?.length ?? 0) > 0) return Queue.offer(rooms, roomId)
              waiting.delete(roomId)
              return Effect.void
            })
          )
        )
      const worker = Effect.forever(Effect.flatMap(Queue.take(rooms), work))
      for (let n = 0; n < workers; n++) yield* Effect.forkScoped(worker)

      const sort = (message: Sent) =>
        Effect.match(Cache.get(wantsIt, message.roomId), {
          onFailure: ({ _tag }) => {
            depth--
            outcomes(_tag).add()
          },
          onSuccess: (isWanted) => {
            const before = waiting.get(message.roomId)
            if (!isWanted) depth--
            else if (before === undefined) {
              waiting.set(message.roomId, [message])
              Queue.offerUnsafe(rooms, message.roomId)
            } else before.push(message)
          }
        })
      // Apart from the workers, so that a slow integration holds up no room that does not want it.
      const sorting = Effect.flatMap(Queue.takeBetween(sent, 1, 100), (some) =>
        Effect.forEach(some, sort, { concurrency: 16, discard: true })
      )
      yield* Effect.forkScoped(Effect.forever(sorting))

      messages.onSent((message) => {
        if (message.threadId !== null || message.deletedAt !== null) return
        if (depth >= ASSIGN_QUEUE) return outcomes("dropped").add()
        depth++
        const { author, messageId, roomId } = message
        Queue.offerUnsafe(sent, { author, messageId, roomId })
      })

      return AutoAssign.of({ waiting: () => depth })
    })
  )
}
