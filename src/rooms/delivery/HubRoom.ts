// A room as the hub keeps it, and a subscription to it as a join or resume gets it.
import { Deferred, type Effect } from "effect"
import type { SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { EventBacklog } from "./EventBacklog.ts"
import type { ResumingMember } from "./Recovery.ts"
import type { RoomFeed } from "./RoomFeed.ts"

/**
 * - `starting`: the room's position on the bus is being read.
 * - `live`: the feed takes each event as it comes.
 * - `catching up`: events are missing; they are being read from the room's stream.
 *
 * Events that come while the room is not live wait in its backlog. A room starts once. From then on it alternates
 * between `live` and `catching up` until its last subscription ends.
 */
export type FeedState = "starting" | "live" | "catching up"

export interface HubRoom {
  readonly feed: RoomFeed
  state: FeedState
  /** Done when the room is live for the first time. */
  readonly ready: Deferred.Deferred<void>
  readonly backlog: EventBacklog
  /** Whether the room's epoch counter was advanced since it last caught up; see Cursor.ts. */
  isEpochAdvanced: boolean
}

export const makeHubRoom = (feed: RoomFeed): HubRoom => ({
  feed,
  state: "starting",
  ready: Deferred.makeUnsafe<void>(),
  backlog: new EventBacklog(),
  isEpochAdvanced: false
})

/** The room's position in Postgres when a connection subscribed. */
export interface StoredPosition {
  readonly changeNumber: number
  readonly epochCounter: number
}

export interface MissedEvents {
  /** Numbered as the client counts. */
  readonly events: ReadonlyArray<SequencedEvent>
  readonly cursor: string
}

/** A subscription whose reply was not sent yet. */
export interface PendingSubscription {
  readonly cursor: string
  /**
   * The events between a client's cursor and the subscription's start, which moves to now. Undefined: some are not in
   * the room's stream any more, or the member may not have them; see Recovery.ts.
   */
  readonly missed: (cursor: string, member: ResumingMember) => Effect.Effect<MissedEvents | undefined>
  /** Moves the subscription's start to now, for a state that is read after this; returns the new cursor. */
  readonly advance: () => string
  /** The request has succeeded or failed. A new subscription ends with the last request that fails. */
  readonly settle: (isAccepted: boolean) => void
  /** The reply was sent, or there will be none: pending frames are sent. */
  readonly release: () => void
}
