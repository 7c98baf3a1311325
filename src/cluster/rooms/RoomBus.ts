// Brings the events of rooms to all instances: each event gets the room's next seq, is kept in the room's stream for
// clients that resume, and is sent to every instance. The port; RoomBusRedis.ts and RoomBusMemory.ts implement it.
// The glossary in storage/buffer/README.md explains the numbers.
//
// Each change gets one seq, however often it is published: a change number that is not above the last one is skipped.
// In order: a change whose predecessors were not published is refused; the publisher brings those first.
import { Context, Effect, Schema, type Scope } from "effect"
import type { LoggedType, RoomChange } from "../../domain/RoomEvent.ts"
import { isRefusal } from "../../infra/redis/RedisUnavailable.ts"

/** Redis is away, or did not answer in time: what was to be published may have been. */
export class BusUnavailable extends Schema.TaggedError<BusUnavailable>()("BusUnavailable", {
  cause: Schema.Defect()
}) {}

/** An event without a change number: it changes nothing in Postgres. */
export interface EphemeralEvent {
  readonly at: string
  readonly type: LoggedType
  readonly subject: string
  readonly event: string
}

export interface SequencedEvent extends EphemeralEvent {
  readonly seq: number
  /** 0: the event has no change number. */
  readonly changeNumber: number
}

export interface BusEvent extends SequencedEvent {
  readonly roomId: string
  readonly epoch: string
}

export interface History {
  readonly epoch: string
  /** The last seq of the room. */
  readonly seq: number
  /** The change number of the last change that was published; 0: not known. */
  readonly changeNumber: number
  /** The events after the requested seq that the stream still has, oldest first, up to the requested number. */
  readonly events: ReadonlyArray<SequencedEvent>
  /** Whether these are all events after the requested seq. */
  readonly isWhole: boolean
}

/** Something for the connections that are in a room now: without a number, and not kept. */
export interface RoomSignal {
  readonly roomId: string
  /** Of the sender. */
  readonly connectionId: string
  readonly name: string
  /** The params of the notification, as JSON. */
  readonly params: string
}

/** The seq of the last event that changed each part of the room: a part read after it is valid until it grows. */
export interface Versions {
  readonly epoch: string
  readonly messages: number
  readonly threads: number
  readonly people: number
}

export class RoomBus extends Context.Service<
  RoomBus,
  {
    /** Whether other instances receive what is published. */
    readonly kind: "shared" | "in-process"
    /**
     * `missingAfter`: the change number after which changes are missing; no later one was taken. `force`: takes changes
     * after a gap, because the missing ones don't exist.
     */
    readonly publish: (
      roomId: string,
      epochCounter: number,
      changes: ReadonlyArray<RoomChange>,
      force: boolean
    ) => Effect.Effect<{ readonly missingAfter: number | undefined }, BusUnavailable>
    /** The seq of the last one. */
    readonly emit: (roomId: string, events: ReadonlyArray<EphemeralEvent>) => Effect.Effect<number, BusUnavailable>
    /**
     * The events after a seq of the present epoch. `limit` 0: the room's position, with its last event if it is kept.
     */
    readonly history: (
      roomId: string,
      epochCounter: number,
      after: number,
      limit: number
    ) => Effect.Effect<History, BusUnavailable>
    /** Undefined: the bus does not know the room. */
    readonly versions: (roomId: string) => Effect.Effect<Versions | undefined, BusUnavailable>
    /** Not retried, and lost for instances whose subscription is away. */
    readonly signal: (signal: RoomSignal) => Effect.Effect<void, BusUnavailable>
    /**
     * Receives the room's events and signals until the scope is closed. Completes when they flow: one that was
     * published before may be missed; while a room is received twice its events may come twice. While the bus is away
     * it completes after a command's deadline, and a gap follows when it is back.
     */
    readonly receive: (roomId: string) => Effect.Effect<void, never, Scope.Scope>
    /** Waits for events of rooms that are received; those of one room come in its order. One consumer an instance. */
    readonly take: Effect.Effect<ReadonlyArray<BusEvent>>
    /** Waits for signals of these rooms. The oldest of more than `maxSignals` are left out. */
    readonly takeSignals: Effect.Effect<ReadonlyArray<RoomSignal>>
    /** Completes when events may have been missed: a subscription was away, or more than `maxQueued` events waited. */
    readonly gap: Effect.Effect<void>
  }
>()("hotpath/cluster/rooms/RoomBus") {}

/** Events that one `take` returns at most. */
export const maxTaken = 1000
/** Events that may wait for `take`. Beyond it they are dropped, which is a gap: they are read from the streams. */
export const maxQueued = 10_000
/** Signals that may wait for `takeSignals`. */
export const maxSignals = 1000
export const queueDropped = "Events dropped because too many waited to be delivered, to be read from the streams"

/** `found`: the events after the seq, one more than `limit` if there are more; with `limit` 0 the last event. */
export const toHistory = (
  { epoch, changeNumber, seq }: Pick<History, "epoch" | "seq" | "changeNumber">,
  found: ReadonlyArray<SequencedEvent>,
  after: number,
  limit: number
): History => ({
  epoch,
  seq,
  changeNumber,
  events: found.slice(0, Math.max(1, limit)),
  // Streams are trimmed at their beginning only, so the number of events says whether one is missing.
  isWhole: limit > 0 && after <= seq && found.length === seq - after && found.length <= limit
})

/** Logs at `debug` only: the caller decides whether it can work without Redis. */
export const fromRedis = <A, E extends { readonly cause?: unknown }, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.tapError(({ cause }) =>
      isRefusal(cause) ? Effect.logDebug("Redis refused a command", { reason: cause.message }) : Effect.void
    ),
    Effect.mapError((cause) => new BusUnavailable({ cause }))
  )
