// The events that a resuming client has missed: read from the room's stream, between its cursor and the start of its
// new subscription.
import { Effect, Fiber } from "effect"
import { RoomBus, type SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { parseCursor } from "./Cursor.ts"
import { FeedSync } from "./FeedSync.ts"
import type { HubRoom, PendingSubscription, StoredPosition } from "./HubRoom.ts"
import { type ResumingMember, recoverable } from "./Recovery.ts"

/** How long a resume waits for the instance to catch up with its client, and how often it checks. */
const patience = "3 seconds"
const attempts = 5

export interface MissedEvents {
  /** Numbered as the client counts. */
  readonly events: ReadonlyArray<SequencedEvent>
  readonly cursor: string
}

/**
 * Reads them for a subscription that starts at its `advance`. Undefined: the member may not have them, or some are
 * gone.
 */
export type ReadMissedEvents = (
  room: HubRoom,
  subscription: PendingSubscription,
  cursor: string,
  stored: StoredPosition,
  member: ResumingMember
) => Effect.Effect<MissedEvents | undefined>

export const makeReadMissedEvents = Effect.gen(function* () {
  const bus = yield* RoomBus
  const sync = yield* FeedSync

  /** Another member's events don't wait for this one: catching up goes on when `patience` is over. */
  const waitForFeed = (room: HubRoom) => {
    const catchingUp = sync.startCatchingUp(room)
    return catchingUp === undefined ? Effect.sleep("20 millis") : Effect.timeoutOption(Fiber.join(catchingUp), patience)
  }

  // Untraced: it is part of the resume's span.
  const read: ReadMissedEvents = Effect.fnUntraced(
    function* (room, subscription, cursorText, stored, member) {
      const cursor = parseCursor(cursorText)
      if (cursor === undefined) return undefined
      const { feed } = room
      const after = cursor.clientSeq - cursor.offset
      for (let attempt = 0; attempt < attempts; attempt++) {
        const newCursor = subscription.advance()
        const { offset, seq } = feed
        if (!feed.isResumable || feed.epoch !== cursor.epoch || offset !== cursor.offset) return undefined
        if (after <= seq) {
          const history = yield* bus.history(feed.roomId, stored.epochCounter, after, retention.events)
          const missed = history.events.filter((event) => event.seq <= seq)
          if (history.epoch !== cursor.epoch || missed.length !== seq - after) return undefined
          const shown = recoverable(missed, history.events, member)
          if (shown === undefined) return undefined
          return { events: shown.map((event) => ({ ...event, seq: event.seq + offset })), cursor: newCursor }
        }
        // The client has seen events that this instance has not received yet.
        yield* waitForFeed(room)
      }
      return undefined
    },
    Effect.catch(() => Effect.succeed(undefined))
  )
  return read
})
