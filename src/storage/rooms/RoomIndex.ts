// The room of a message or a thread: requests name only the message or the thread, and it never moves, so an answer
// is good for ever. Bounded; requests for the same id at the same time share one read.
import { Cache, Duration, Effect, Exit } from "effect"
import { isUuid } from "../../domain/Ids.ts"

const capacity = 20_000

/** An index over `read`. What is no id of ours is not found, and not read. */
export const makeRoomIndex = <E, N>(read: (id: string) => Effect.Effect<string, E>, notFound: () => N) =>
  Effect.map(
    Cache.makeWith(read, {
      capacity,
      timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
    }),
    (rooms) =>
      (id: string): Effect.Effect<string, E | N> =>
        isUuid(id) ? Cache.get(rooms, id) : Effect.fail(notFound())
  )
