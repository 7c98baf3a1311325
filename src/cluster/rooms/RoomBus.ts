// What happens in rooms, told to all instances: each event gets the room's next number, is kept in the room's stream for
// those who missed it, and is sent to every instance. The port; RoomBusRedis.ts and RoomBusMemory.ts stand behind it.
//
// A number counts within an epoch. The epoch ends when numbers could come again with other events (Redis lost its data, or
// may have lost its last second), and when the room's generation grows: positions of another epoch say nothing.
//
// At least once: a change that is published again (its revision is not above the last) gets no number. In order: a change
// whose predecessors were not published is not taken; the publisher brings those first.
import { Context, Effect, Schema } from "effect"
import type { RoomChange, RoomEvent } from "../../domain/RoomEvent.ts"
import { isRefusal } from "../../infra/redis/RedisUnavailable.ts"

/** Redis is away, or did not answer in time: what was to be published may have been. */
export class BusUnavailable extends Schema.TaggedError<BusUnavailable>()("BusUnavailable", {
  cause: Schema.Defect()
}) {}

/** An event without a revision: nothing that lasts has changed. */
export interface EphemeralEvent {
  readonly at: string
  readonly type: RoomEvent["type"]
  readonly subject: string
  readonly event: string
}

export interface SequencedEvent extends EphemeralEvent {
  readonly seq: number
  /** 0: none. */
  readonly changeNumber: number
}

export interface BusEvent extends SequencedEvent {
  readonly roomId: string
  readonly epoch: string
}

export interface Published {
  /** The revision after which changes are missing: nothing from there on was taken. */
  readonly missingAfter: number | undefined
}

export interface History {
  readonly epoch: string
  /** The last number given. */
  readonly seq: number
  /** The last revision published; 0: not known. */
  readonly changeNumber: number
  /** Those after the position that are still kept, oldest first, at most as many as were asked for. */
  readonly events: ReadonlyArray<SequencedEvent>
  /** Whether that is all of them. */
  readonly isWhole: boolean
}

/** Up to when (in numbers) parts of the room changed: what was read after is right as long as these stay the same. */
export interface Versions {
  readonly epoch: string
  readonly messages: number
  readonly threads: number
  readonly people: number
}

export class RoomBus extends Context.Service<
  RoomBus,
  {
    /** Whether other instances hear of it, or could. */
    readonly kind: "shared" | "in-process"
    /** `force`: the changes that are missing in between don't exist. */
    readonly publish: (
      roomId: string,
      epochCounter: number,
      changes: ReadonlyArray<RoomChange>,
      force: boolean
    ) => Effect.Effect<Published, BusUnavailable>
    readonly emit: (roomId: string, events: ReadonlyArray<EphemeralEvent>) => Effect.Effect<void, BusUnavailable>
    /** What came after a number of the present epoch; with `limit` 0 the position, and the last event, if it is still there. */
    readonly history: (
      roomId: string,
      epochCounter: number,
      after: number,
      limit: number
    ) => Effect.Effect<History, BusUnavailable>
    /** Undefined: nothing is known of the room. */
    readonly versions: (roomId: string) => Effect.Effect<Versions | undefined, BusUnavailable>
    /** What comes for any room, in the order of each; waits for the first. */
    readonly take: Effect.Effect<ReadonlyArray<BusEvent>>
    /** Completes when events may have been missed. */
    readonly gap: Effect.Effect<void>
  }
>()("hotpath/cluster/rooms/RoomBus") {}

/** `found`: what was looked for, one more than asked for if there is; the last event alone when none was asked for. */
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
  // As many as there must be, and no hole at their beginning: older ones are trimmed there.
  isWhole: limit > 0 && after <= seq && found.length === seq - after && found.length <= limit
})

/** Redis's errors as one. Whether it is away, or takes no writes, is said by whoever can't do their work without. */
export const fromRedis = <A, E extends { readonly cause?: unknown }, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.tapError(({ cause }) =>
      isRefusal(cause) ? Effect.logDebug("Redis refused a command", { reason: cause.message }) : Effect.void
    ),
    Effect.mapError((cause) => new BusUnavailable({ cause }))
  )
