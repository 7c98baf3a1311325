// Publishes committed changes to the bus, in the order they were committed, and then deletes them from the outbox. At
// least once: the bus takes each change number once. A change whose instance dies in between is published by the next
// instance that changes the room, or by the sweep, within seconds.
//
// The changes of one room that arrive while others of it are being published follow them in one batch. A change whose
// predecessor is missing in the bus waits a moment, as another instance is about to publish that, and then publishes
// it, too. A change that Redis does not take is delivered within the instance and announced to the others
// (UnpublishedRooms.ts), and stays in the outbox until Redis has it.
import { Context, Deferred, Effect, Layer, Queue } from "effect"
import { BusUnavailable, RoomBus } from "../../cluster/rooms/RoomBus.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import { makeKeyedMutex } from "../../infra/KeyedMutex.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { type Committed, Publisher, type Writes } from "../../storage/rooms/Committed.ts"
import { Outbox } from "../../storage/rooms/Outbox.ts"
import { Hub } from "./Hub.ts"
import { UnpublishedRooms } from "./UnpublishedRooms.ts"

interface Pending {
  readonly change: RoomChange
  readonly done: Deferred.Deferred<void>
}

/** A store whose writes are published before they return: what was `Committed<A>` is `A`. */
export type Published<Store> = {
  readonly [Name in keyof Store]: Store[Name] extends (
    ...args: infer Args
  ) => Effect.Effect<Committed<infer A>, infer E, infer R>
    ? (...args: Args) => Effect.Effect<A, E, Exclude<R, Publisher>>
    : Store[Name]
}

type WriteOperation = (...args: ReadonlyArray<unknown>) => Effect.Effect<Committed<unknown>, unknown, Publisher>

/** How long a writer waits until its change is published; the change is committed all the same. */
const patience = "2 seconds"
const maxBatch = 100
/** Published changes that are not deleted yet; those beyond it are left to the sweep. */
const maxPublished = 10_000
const sweepEveryMs = 1000
/** How much later than to this instance a notification may come to the others before its change is acknowledged. */
const noticeMs = 25
/** A change that is in the outbox for longer has lost its instance. */
const orphanedMs = 1500

export class OutboxRelay extends Context.Service<
  OutboxRelay,
  {
    /** The store with its writes published: each returns when its changes are, or can't be for now. */
    readonly publishing: <Store extends object>(store: Store, writes: Writes<NoInfer<Store>>) => Published<Store>
  }
>()("hotpath/rooms/delivery/OutboxRelay") {
  static readonly layer = Layer.effect(
    OutboxRelay,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const hub = yield* Hub
      const outbox = yield* Outbox
      const unpublished = yield* UnpublishedRooms
      const { counter } = yield* Metrics
      const scope = yield* Effect.scope
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const publishedCount = counter("room_changes_total", "Changes of rooms that were published to all instances")
      const sweptCount = counter(
        "room_changes_swept_total",
        "Changes published late, by another instance than the one that made them"
      )
      const unremoved = yield* Queue.dropping<Pick<RoomChange, "roomId" | "changeNumber">>(maxPublished)
      const roomMutex = makeKeyedMutex()
      const pending = new Map<string, Array<Pending>>()

      let isAway = false
      const settle = (changes: ReadonlyArray<RoomChange>) => {
        isAway = false
        publishedCount.add(changes.length)
        return Queue.offerAll(
          unremoved,
          changes.map(({ changeNumber, roomId }) => ({ changeNumber, roomId }))
        )
      }

      /** Publishes all that the outbox has of a room after a change number; how many changes. */
      const publishOutbox = Effect.fnUntraced(function* (roomId: string, after: number) {
        let last = after
        for (let count = 0; ; ) {
          const changes: ReadonlyArray<RoomChange> = yield* outbox.pending(roomId, last)
          const newest = changes.at(-1)
          if (newest === undefined) return count
          // No lower change number can still be committed: the room's lock was passed on in their order.
          yield* bus.publish(roomId, newest.epochCounter, changes, true)
          yield* settle(changes)
          count += changes.length
          last = newest.changeNumber
        }
      })

      const publish = Effect.fnUntraced(function* (roomId: string, changes: ReadonlyArray<RoomChange>) {
        const epochCounter = Math.max(...changes.map((change) => change.epochCounter))
        for (let attempt = 0; ; attempt++) {
          const { missingAfter } = yield* bus.publish(roomId, epochCounter, changes, false)
          if (missingAfter === undefined) return yield* settle(changes)
          if (attempt === 3) return yield* publishOutbox(roomId, missingAfter)
          yield* Effect.sleep(2 + 2 * attempt)
        }
      })

      /** The bus is away: delivers the changes here, and has the other instances do the same. */
      const publishWithoutBus = Effect.fnUntraced(function* (
        roomId: string,
        changes: ReadonlyArray<RoomChange>,
        error: unknown
      ) {
        // A bus of this process alone has no other instances.
        if (bus.kind === "shared") yield* unpublished.add(roomId)
        yield* hub.deliverLocally(roomId, changes)
        // The others are notified at the same time, within milliseconds: by the time of the reply they know.
        if (bus.kind === "shared") yield* Effect.sleep(noticeMs)
        if (isAway) return
        isAway = true
        yield* Effect.logWarning("Redis takes no changes of rooms; they are published through PostgreSQL", {
          reason: error instanceof BusUnavailable ? String(error.cause) : String(error)
        })
      })

      const publishPending = Effect.fnUntraced(function* (roomId: string) {
        while (true) {
          const batch = pending.get(roomId)?.splice(0, maxBatch) ?? []
          if (batch.length === 0) break
          const changes = batch.map(({ change }) => change).sort((a, b) => a.changeNumber - b.changeNumber)
          yield* roomMutex(roomId, publish(roomId, changes)).pipe(
            Effect.catch((error) => publishWithoutBus(roomId, changes, error)),
            Effect.catchCause((cause) => Effect.logError("changes of a room were not published", cause))
          )
          for (const { done } of batch) Deferred.doneUnsafe(done, Effect.void)
        }
        pending.delete(roomId)
      })

      const enqueue = (change: RoomChange) => {
        const one: Pending = { change, done: Deferred.makeUnsafe() }
        const before = pending.get(change.roomId)
        if (before === undefined) {
          pending.set(change.roomId, [one])
          run(Effect.forkIn(publishPending(change.roomId), scope, { startImmediately: true }))
        } else before.push(one)
        return one.done
      }

      // Gathered for a moment: one statement deletes many.
      yield* background(
        "deletion of published changes",
        Effect.flatMap(Queue.takeBetween(unremoved, 1, 500), outbox.remove),
        "50 millis"
      )

      // Under the room's mutex: a late change must not overtake a present one.
      const publishLate = (roomId: string) =>
        roomMutex(
          roomId,
          Effect.map(publishOutbox(roomId, 0), (count) => {
            sweptCount.add(count)
            unpublished.remove(roomId)
          })
        )
      const sweep = Effect.gen(function* () {
        const orphaned = yield* outbox.pendingRooms(orphanedMs)
        for (const roomId of new Set([...orphaned, ...unpublished.rooms()])) yield* publishLate(roomId)
      })
      yield* background("outbox sweep", sweep, () => sweepEveryMs * (0.75 + 0.5 * Math.random()))

      /** Changes that another instance could not publish: this one tries, or delivers them to its own connections. */
      const publishForOthers = (roomId: string) =>
        publishLate(roomId).pipe(
          Effect.catch(() =>
            Effect.flatMap(outbox.pending(roomId, 0), (changes) => hub.deliverLocally(roomId, changes))
          ),
          Effect.ignore
        )
      yield* background(
        "changes that others could not publish",
        Effect.flatMap(unpublished.notified, (rooms) =>
          Effect.forEach(rooms, publishForOthers, { concurrency: 4, discard: true })
        )
      )

      yield* Effect.addFinalizer(() => Effect.ignore(Effect.flatMap(Queue.clear(unremoved), outbox.remove)))

      // A caller that is interrupted during the write does not prevent its publication.
      const published = <A, E>(write: Effect.Effect<Committed<A>, E, Publisher>) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.flatMap(Effect.provideService(write, Publisher, "publishes"), ({ changes, value }) => {
            if (changes.length === 0) return Effect.succeed(value)
            const done = Effect.forEach(changes.map(enqueue), Deferred.await, { discard: true })
            return Effect.as(restore(Effect.timeoutOption(done, patience)), value)
          })
        )

      const publishing = <Store extends object>(store: Store, writes: Writes<NoInfer<Store>>) => {
        // `writes` names exactly the operations that return Committed, which the compiler can't follow by name.
        const wrapped = Object.entries(store as Readonly<Record<string, WriteOperation>>)
          .filter(([name]) => Object.hasOwn(writes, name))
          .map(([name, write]) => [name, (...args: Parameters<WriteOperation>) => published(write(...args))] as const)
        return { ...store, ...Object.fromEntries(wrapped) } as Published<Store>
      }

      return OutboxRelay.of({ publishing })
    })
  )
}
