// What a connection that resumes has missed: read from the room's stream, between its cursor and where it goes on.
import { Effect, Fiber, type Scope } from "effect"
import type { RoomBus, SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { kept } from "../../infra/redis/RoomLog.ts"
import { parseCursor } from "./Cursor.ts"
import { type Membership, recoverable } from "./Recovery.ts"
import type { Entrance, Entry, Known } from "./RoomEntry.ts"

/** How long a resume waits until what is missing was read, and how often it tries. */
const missedMost = "3 seconds"
const attempts = 5

export type MissedEvents = (
  roomId: string,
  entrance: Entrance,
  cursor: string,
  known: Known,
  membership: Membership
) => Effect.Effect<{ readonly events: ReadonlyArray<SequencedEvent>; readonly cursor: string } | undefined>

export const makeMissedEvents = ({
  bus,
  catchUp,
  entryOf,
  scope
}: {
  readonly bus: RoomBus["Service"]
  readonly catchUp: (entry: Entry) => Effect.Effect<void>
  readonly entryOf: (roomId: string) => Entry | undefined
  readonly scope: Scope.Scope
}): MissedEvents => {
  // Untraced: it is part of the resume's span.
  return Effect.fnUntraced(
    function* (roomId, entrance, cursor, known, membership) {
      const from = parseCursor(cursor)
      const entry = entryOf(roomId)
      if (from === undefined || entry === undefined) return undefined
      const { line } = entry
      const after = from.seq - from.offset
      for (let attempt = 0; attempt < attempts; attempt++) {
        const present = entrance.again()
        const { offset, seq } = line
        if (!line.isResumable || line.epoch !== from.epoch || offset !== from.offset) return undefined
        if (after <= seq) {
          const history = yield* bus.history(roomId, known.epochCounter, after, kept.events)
          const events = history.events.filter((event) => event.seq <= seq)
          const isWhole = history.epoch === from.epoch && events.length === seq - after
          if (!isWhole) return undefined
          const shown = recoverable(events, history.events, membership)
          if (shown === undefined) return undefined
          return { events: shown.map((event) => ({ ...event, seq: event.seq + offset })), cursor: present }
        }
        // The client has seen more than this instance was told yet.
        if (entry.isLive) {
          // It goes on for those who are in the room, when this one waits no longer.
          const reading = yield* Effect.forkIn(catchUp(entry), scope)
          yield* Effect.timeoutOption(Fiber.join(reading), missedMost)
        } else yield* Effect.sleep("20 millis")
      }
      return undefined
    },
    Effect.catch(() => Effect.succeed(undefined))
  )
}
