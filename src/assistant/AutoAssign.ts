// Assigns messages that were sent without a thread, in rooms with `autoAssign`. After the reply, the `assign`
// integration picks one of the room's threads, or names a new one. A message whose assignment fails, comes too fast or
// finds the queue full stays without a thread.
//
// Messages wait by room, ASSIGN_QUEUE of them in all. Over all instances one worker at a time works on a room (a lock),
// so that two messages about one subject do not make two threads of it. At most ASSIGN_RATE messages a minute of a room
// are sent to the integration, and USER_MODEL_RATE of a user. What waits when the process stops stays without a thread.
import { Cache, Cause, Duration, Effect, Exit, Layer, Option, Queue, Schema } from "effect"
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
import { background } from "../observability/Background.ts"
import { Metrics } from "../observability/Metrics.ts"
import { OutboxRelay } from "../rooms/delivery/OutboxRelay.ts"
import { Messages } from "../rooms/Messages.ts"
import { Settings } from "../Settings.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"
import { RoomStore } from "../storage/rooms/RoomStore.ts"
import { ThreadStore } from "../storage/rooms/ThreadStore.ts"
import { makeModelRate } from "./Places.ts"

/** Rooms worked on at once, on this instance. */
const workers = 32
/** Messages of a room that a worker takes before it turns to other rooms. */
const maxInARow = 5
/** Threads offered to the integration: the newest that are not archived. */
const maxThreads = 200
/** How long a room's `autoAssign` is cached: so much later at the most a change of it counts. */
const autoAssignTtl = "5 seconds"
const lockOptions = { ttl: "5 seconds", wait: "2 seconds" } as const

/** What PostgreSQL can store. Texts inside a model's text were not checked with its answer. */
const isName = Schema.makeFilter((text: string) => text.trim() !== "" && !text.includes("\0") && text.isWellFormed())

/** A thread of the room, a new thread, or (null or empty) none. */
const Assignment = Schema.NullOr(
  Schema.Struct({
    threadId: Schema.optionalKey(Schema.NullOr(Schema.String)),
    title: Schema.optionalKey(Schema.NullOr(Title.check(isName))),
    category: Schema.optionalKey(Schema.NullOr(Category.check(isName)))
  })
)
const decodeAssignment = Schema.decodeUnknownOption(Assignment)
const decodeAssignmentText = Schema.decodeUnknownOption(Schema.fromJsonString(Assignment))

/** A message that waits; its text is read when its turn comes. */
type Sent = Pick<Message, "author" | "messageId" | "roomId">

const sameTitle = (title: string) => {
  const wanted = title.trim().toLowerCase()
  return (thread: Thread) => thread.title.trim().toLowerCase() === wanted
}

const tagOf = <E extends { readonly _tag: string }>(cause: Cause.Cause<E>): string =>
  Option.match(Cause.findErrorOption(cause), { onNone: () => "InternalError", onSome: ({ _tag }) => _tag })

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const fetch = yield* Fetch
    const limits = yield* RateLimits
    const locks = yield* Locks
    const lookup = yield* Lookup
    const messages = yield* Messages
    const relay = yield* OutboxRelay
    const store = relay.publishing(yield* MessageStore, MessageStore.writes)
    const roomStore = yield* RoomStore
    const threads = relay.publishing(yield* ThreadStore, ThreadStore.writes)
    const takeModelRate = yield* makeModelRate
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
    // Neither is ever full, because `depth` is bounded: a room is in `rooms` at most once, and only while messages of
    // it wait.
    const sent = yield* Queue.dropping<Sent>(ASSIGN_QUEUE)
    const rooms = yield* Queue.dropping<string>(ASSIGN_QUEUE)

    const wantsIt = yield* Cache.makeWith(
      (roomId: string) => Effect.map(roomStore.get(roomId), ({ room }) => room.autoAssign),
      { capacity: 20_000, timeToLive: (exit) => (Exit.isSuccess(exit) ? autoAssignTtl : Duration.zero) }
    )

    /** The message as it is now, if it still needs a thread. */
    const unsettled = Effect.fnUntraced(function* ({ messageId, roomId }: Sent) {
      const present = yield* store.find(roomId, messageId)
      if (present === undefined || present.threadId !== null || present.deletedAt !== null) return undefined
      return present
    })

    /** The thread that the integration names, created if it is new; or the outcome without one. */
    const choose = Effect.fnUntraced(function* (message: Message) {
      const { author, body, messageId, roomId } = message
      const target = yield* lookup.get("assign", author)
      const offered = yield* threads.list(roomId, false)
      const input = {
        message: { messageId, author, body },
        threads: offered.slice(-maxThreads).map(({ category, threadId, title }) => ({ threadId, title, category }))
      }
      const answer = yield* fetch.exchange(target, input, JSON.stringify(input), 0)
      // A model gives the assignment as JSON in a text.
      const text = textOf(answer.body)
      const decoded = text === undefined ? decodeAssignment(answer.body) : decodeAssignmentText(text)
      if (Option.isNone(decoded)) return yield* new IntegrationInvalidResponse()
      const { category = null, threadId = null, title = null } = decoded.value ?? {}
      // The message and the threads may have changed meanwhile.
      if ((yield* unsettled(message)) === undefined) return "settled"
      const open = yield* threads.list(roomId, false)
      const isIt = title === null ? () => false : sameTitle(title)
      const known = threadId === null ? open.find(isIt) : open.find((thread) => thread.threadId === threadId)
      if (known !== undefined) return known
      // A thread that was offered is archived by now; any other one is not the room's.
      if (offered.some((thread) => thread.threadId === threadId)) return yield* new ThreadNotFound()
      if (threadId !== null) return yield* new IntegrationInvalidResponse()
      if (title === null) return "none"
      const createdAt = yield* now
      const made = { threadId: SecureRandom.uuidV7Unsafe(), roomId, title, category, archived: false, createdAt }
      return yield* threads.create(made, yield* actorNow(author))
    })

    const assign = Effect.fnUntraced(function* (message: Sent) {
      const { author, messageId, roomId } = message
      // The user's rate comes first: a request over it takes nothing from the room's.
      yield* takeModelRate(author)
      yield* limits.consume(`assign:${roomId}`, { name: "assign", limit: ASSIGN_RATE, window: "1 minute" })
      // It may have got a thread, or been deleted, meanwhile.
      const present = yield* unsettled(message)
      if (present === undefined) return "settled"
      const thread = yield* choose(present)
      if (typeof thread === "string") return thread
      yield* store.assignThread(roomId, messageId, thread.threadId, yield* actorNow(author))
      return "assigned"
    })

    const settle = (message: Sent) =>
      assign(message).pipe(
        Effect.tapDefect((defect) => Effect.logError("a message was not assigned", defect)),
        Effect.matchCause({ onFailure: tagOf, onSuccess: (outcome) => outcome }),
        Effect.map((outcome) => outcomes(outcome).add())
      )

    const assignSome = Effect.fnUntraced(function* (roomId: string) {
      for (let n = 0; n < maxInARow; n++) {
        const message = waiting.get(roomId)?.shift()
        if (message === undefined) return
        depth--
        yield* settle(message)
      }
    })

    const requeue = (roomId: string) =>
      Effect.sync(() => {
        if ((waiting.get(roomId)?.length ?? 0) > 0) Queue.offerUnsafe(rooms, roomId)
        else waiting.delete(roomId)
      })
    const work = (roomId: string) =>
      locks.withAdvisoryLock(`assign:${roomId}`, lockOptions, assignSome(roomId)).pipe(
        // Another instance works on the room, so its messages here wait on.
        Effect.catchTag("LockBusy", () => Effect.void),
        Effect.ensuring(requeue(roomId))
      )
    for (let n = 0; n < workers; n++) {
      yield* background("assignments", Effect.flatMap(Queue.take(rooms), work))
    }

    const sort = (message: Sent) =>
      Effect.matchCause(Cache.get(wantsIt, message.roomId), {
        onFailure: (cause) => {
          depth--
          outcomes(tagOf(cause)).add()
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
    // Apart from the workers, so that a slow integration does not delay messages of rooms without `autoAssign`.
    yield* background(
      "assignment sorting",
      Effect.flatMap(Queue.takeBetween(sent, 1, 100), (some) =>
        Effect.forEach(some, sort, { concurrency: 16, discard: true })
      )
    )

    messages.onSent((message) => {
      if (message.threadId !== null || message.deletedAt !== null) return
      if (depth >= ASSIGN_QUEUE) return outcomes("dropped").add()
      depth++
      const { author, messageId, roomId } = message
      Queue.offerUnsafe(sent, { author, messageId, roomId })
    })
  })
)
