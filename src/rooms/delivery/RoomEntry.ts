// A room as the hub keeps it: its line, and what it waits for; and a place in it, as it is given to a join or resume.
import type { Deferred } from "effect"
import type { Backlog } from "./EventBacklog.ts"
import type { RoomFeed } from "./RoomFeed.ts"

export interface Entry {
  readonly line: RoomFeed
  readonly ready: Deferred.Deferred<void>
  isLive: boolean
  /** What came while it was not live. */
  readonly backlog: Backlog
  /** Whether the room's generation was raised for what is told without the bus. */
  isFenced: boolean
}

/** Where the room stood in the repository when somebody came in. */
export interface Known {
  readonly changeNumber: number
  readonly epochCounter: number
}

export interface Entrance {
  readonly cursor: string
  /** The same place with all that was told meanwhile: for a state that is read after this. */
  readonly again: () => string
  /** There is an answer, or there will be none; without one, a seat that was taken for it is given up. */
  readonly decide: (isGood: boolean) => void
  readonly release: () => void
}
