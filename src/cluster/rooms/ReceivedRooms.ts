// Which rooms an instance receives on a channel that others' events come on as well. A room may be received several
// times at once.
import { Effect, type Scope } from "effect"

export const makeReceivedRooms = () => {
  /** How often each room is received. */
  const times = new Map<string, number>()
  const count = (roomId: string, more: number) =>
    Effect.sync(() => {
      const next = (times.get(roomId) ?? 0) + more
      if (next === 0) times.delete(roomId)
      else times.set(roomId, next)
    })
  return {
    has: (roomId: string): boolean => times.has(roomId),
    /** Until the scope is closed. */
    receive: (roomId: string): Effect.Effect<void, never, Scope.Scope> =>
      Effect.acquireRelease(count(roomId, 1), () => count(roomId, -1))
  }
}
export type ReceivedRooms = ReturnType<typeof makeReceivedRooms>
