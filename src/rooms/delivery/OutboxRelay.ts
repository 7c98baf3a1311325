// Brings committed changes to the bus, in the order they were committed, and says in the repository that they were told.
// Until then they are kept there, so that what an instance commits and can't tell any more (it was killed in between) is told
// by the next one that changes the room, or by whoever looks for it, a second or two later.
//
// The changes of one room that come while others of it are on their way go together after them. A change whose predecessor
// is missing in the bus waits a moment (another instance is about to bring it), then brings it along.
//
// At least once: the bus takes each revision once. A change that Redis does not take is told within the instance; the others
// are notified through PostgreSQL (see UnpublishedRooms.ts) and tell it to theirs; and it stays kept until Redis has it.
import { Context, Deferred, Effect, Layer, Queue } from "effect"
import { BusUnavailable, RoomBus } from "../../cluster/rooms/RoomBus.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import { makeKeyedMutex } from "../../infra/KeyedMutex.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { type Committed, Repository } from "../../storage/rooms/Repository.ts"
import { Hub } from "./Hub.ts"
import { UnpublishedRooms } from "./UnpublishedRooms.ts"

interface Waiting {
  readonly change: RoomChange
  readonly done: Deferred.Deferred<void>
}

/** How long a writer waits for its change to be told; it is committed all the same. */
const patience = "2 seconds"
const maxBatch = 100
/** Told changes that still stand in the repository; beyond it they are left for the sweep. */
const maxTold = 10_000
const sweepEveryMs = 1000
/** How long a notification may take before the change it is about is acknowledged. */
const noticeMs = 25
/** A change that is kept longer than this has lost its teller. */
const orphanedMs = 1500

export class OutboxRelay extends Context.Service<
  OutboxRelay,
  {
    /** Passes the value on when the changes were told, or can't be for now. */
    readonly announced: <A, E>(write: Effect.Effect<Committed<A>, E>) => Effect.Effect<A, E>
  }
>()("hotpath/rooms/delivery/OutboxRelay") {
  static readonly layer = Layer.effect(
    OutboxRelay,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const hub = yield* Hub
      const repository = yield* Repository
      const untold = yield* UnpublishedRooms
      const { counter } = yield* Metrics
      const scope = yield* Effect.scope
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const published = counter("room_changes_total", "Changes of rooms that were told to all instances")
      const swept = counter("room_changes_swept_total", "Changes told late, by another than who made them")
      const told = yield* Queue.dropping<Pick<RoomChange, "roomId" | "changeNumber">>(maxTold)
      const turns = makeKeyedMutex()
      const waiting = new Map<string, Array<Waiting>>()

      let isAway = false
      const settled = (changes: ReadonlyArray<RoomChange>) => {
        isAway = false
        published.add(changes.length)
        return Queue.offerAll(
          told,
          changes.map(({ changeNumber, roomId }) => ({ changeNumber, roomId }))
        )
      }

      /** Whatever is kept of a room after a revision, in order, however much it is. */
      const publishKept = (roomId: string, after: number): Effect.Effect<number, unknown> =>
        Effect.gen(function* () {
          const changes = yield* repository.unsent(roomId, after)
          const last = changes.at(-1)
          if (last === undefined) return 0
          // No lower revision can still turn up: the room's lock was passed on in their order.
          yield* bus.publish(roomId, last.epochCounter, changes, true)
          yield* settled(changes)
          return changes.length + (yield* publishKept(roomId, last.changeNumber))
        })

      const publish = Effect.fnUntraced(function* (roomId: string, changes: ReadonlyArray<RoomChange>) {
        const epochCounter = Math.max(...changes.map((change) => change.epochCounter))
        for (let attempt = 0; ; attempt++) {
          const { missingAfter } = yield* bus.publish(roomId, epochCounter, changes, false)
          if (missingAfter === undefined) return yield* Effect.asVoid(settled(changes))
          if (attempt === 3) return yield* Effect.asVoid(publishKept(roomId, missingAfter))
          yield* Effect.sleep(2 + 2 * attempt)
        }
      })

      const alone = (roomId: string, changes: ReadonlyArray<RoomChange>, error: unknown) =>
        Effect.gen(function* () {
          // A bus of this process alone has nobody else to tell.
          if (bus.kind === "shared") yield* untold.add(roomId)
          yield* hub.deliverLocally(roomId, changes)
          // The others hear of it within milliseconds: whoever is answered finds them knowing.
          if (bus.kind === "shared") yield* Effect.sleep(noticeMs)
          if (isAway) return
          isAway = true
          yield* Effect.logWarning("Redis takes no changes of rooms; they are told through PostgreSQL", {
            reason: error instanceof BusUnavailable ? String(error.cause) : String(error)
          })
        })

      const work = (roomId: string): Effect.Effect<void> =>
        Effect.suspend(() => {
          const batch = waiting.get(roomId)?.splice(0, maxBatch) ?? []
          if (batch.length === 0) {
            waiting.delete(roomId)
            return Effect.void
          }
          const changes = batch.map(({ change }) => change).sort((a, b) => a.changeNumber - b.changeNumber)
          return turns(roomId, publish(roomId, changes)).pipe(
            Effect.catch((error) => alone(roomId, changes, error)),
            Effect.catchCause((cause) => Effect.logError("changes of a room were not told", cause)),
            Effect.andThen(
              Effect.suspend(() => {
                for (const { done } of batch) Deferred.doneUnsafe(done, Effect.void)
                return work(roomId)
              })
            )
          )
        })

      const announce = (change: RoomChange) => {
        const one = { change, done: Deferred.makeUnsafe<void>() }
        const before = waiting.get(change.roomId)
        if (before === undefined) {
          waiting.set(change.roomId, [one])
          run(Effect.forkIn(work(change.roomId), scope, { startImmediately: true }))
        } else before.push(one)
        return one.done
      }

      const forget = Effect.flatMap(Queue.takeBetween(told, 1, 500), (changes) =>
        Effect.ignore(repository.sent(changes))
      )
      // Gathered for a moment: one statement for many.
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(forget, Effect.sleep("50 millis"))))

      // In the order of the room: what is told late must not overtake what is told now.
      const late = (roomId: string) =>
        turns(
          roomId,
          Effect.gen(function* () {
            swept.add(yield* publishKept(roomId, 0))
            untold.remove(roomId)
          })
        )
      const sweep = Effect.gen(function* () {
        const orphaned = yield* repository.unsentRooms(orphanedMs)
        for (const roomId of new Set([...orphaned, ...untold.rooms()])) yield* late(roomId)
      })
      yield* Effect.forkScoped(
        Effect.forever(Effect.delay(Effect.ignore(sweep), sweepEveryMs * (0.75 + 0.5 * Math.random())))
      )

      /** What others could not tell: from here, if the bus is there for us; else to our own connections. */
      const tellOthers = (roomId: string) =>
        Effect.catch(late(roomId), () =>
          Effect.flatMap(repository.unsent(roomId, 0), (changes) => hub.deliverLocally(roomId, changes))
        ).pipe(Effect.ignore)
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.flatMap(untold.notified, (some) => Effect.forEach(some, tellOthers, { concurrency: 4, discard: true }))
        )
      )

      yield* Effect.addFinalizer(() => Effect.ignore(Effect.flatMap(Queue.clear(told), repository.sent)))

      return OutboxRelay.of({
        // Who leaves while the write is under way must not take its announcement along.
        announced: (write) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(write, ({ changes, value }) => {
              if (changes.length === 0) return Effect.succeed(value)
              const told = Effect.forEach(changes.map(announce), (done) => Deferred.await(done), { discard: true })
              return Effect.as(restore(Effect.timeoutOption(told, patience)), value)
            })
          )
      })
    })
  )
}
