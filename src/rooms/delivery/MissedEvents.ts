// The events that a resuming client has missed: read from the room's stream, between its cursor and the start of its
// new subscription.
import { Effect, Fiber } from "effect"
import { type BusUnavailable, RoomBus } from "../../cluster/rooms/RoomBus.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { parseCursor } from "./Cursor.ts"
import { FeedSync } from "./FeedSync.ts"
import type { HubRoom, MissedEvents, StoredPosition } from "./HubRoom.ts"
import { type ResumingMember, recoverable } from "./Recovery.ts"

/** How long a resume waits for the instance to catch up with its client, and how often it checks. */
const patience = "3 seconds"
const attempts = 5

export const makeReadMissedEvents = Effect.gen(function* () {
  const bus = yield* RoomBus
  const sync = yield* FeedSync

  /** Does not wait longer than `patience`, while catching up goes on for the other connections. */
  const waitForFeed = (room: HubRoom) => {
    const catchingUp = sync.startCatchingUp(room)
    return catchingUp === undefined ? Effect.sleep("20 millis") : Effect.timeoutOption(Fiber.join(catchingUp), patience)
  }

  // Untraced: it is part of the resume's span.
  return Effect.fnUntraced(
    function* (
      room: HubRoom,
      { epochCounter }: StoredPosition,
      advance: () => string,
      cursorText: string,
      member: ResumingMember
    ): Effect.fn.Return<MissedEvents | undefined, BusUnavailable> {
      const cursor = parseCursor(cursorText)
      if (cursor === undefined) return undefined
      const { feed } = room
      const after = cursor.clientSeq - cursor.offset
      for (let attempt = 0; attempt < attempts; attempt++) {
        const newCursor = advance()
        const { offset, seq } = feed
        if (!feed.isResumable || feed.epoch !== cursor.epoch || offset !== cursor.offset) return undefined
        if (after <= seq) {
          const history = yield* bus.history(feed.roomId, epochCounter, after, retention.events)
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
    Effect.catchTag("BusUnavailable", () => Effect.succeed(undefined))
  )
})
