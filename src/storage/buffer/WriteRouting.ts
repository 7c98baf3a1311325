// Which way something goes that the buffer may have: by it, or past it; and what is done when neither is to be had.
import { Effect } from "effect"
import { BufferFull, StorageUnavailable } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { BufferUnavailable } from "./WriteBuffer.ts"
import type { Lease, WriteMode } from "./WriteMode.ts"
import { BufferLeased } from "./WriterLeases.ts"

/** How often, ms, it is looked whether others use the buffer still. */
const heldEveryMs = 100

export const uncertain = () => new StorageUnavailable({ reason: "the buffer did not say whether it was kept" })

const elsewhere = () => new StorageUnavailable({ reason: "others use the buffer, which is away here" })

export const makeWriteRouting = (leases: WriteMode["Service"]) => {
  /** Others who lost the buffer as well have left it by then; who uses it still is not waited for. */
  const leaveAll = Effect.timeoutOrElse(leases.leaveAll, {
    duration: leases.ttlMs + 2 * heldEveryMs,
    orElse: () => Effect.fail(elsewhere())
  })

  /**
   * By the buffer, if it is to be used, else past it. What did not reach the buffer is tried again; so is a read that was
   * not answered.
   */
  const through = <A, E, A2, E2>(
    what: "read" | "write",
    buffered: (lease: Lease) => Effect.Effect<A, E | BufferUnavailable>,
    direct: Effect.Effect<A2, E2>
  ) => {
    const attempt = (left: number): Effect.Effect<A | A2, Exclude<E, BufferUnavailable> | E2 | StorageUnavailable> =>
      Effect.flatMap(leases.current, (lease) =>
        lease === undefined
          ? what === "write"
            ? Effect.andThen(leases.leave, direct)
            : Effect.flatMap(leaveAll, (isLeft) => (isLeft || left === 1 ? direct : attempt(left - 1)))
          : Effect.catch(buffered(lease), (error) => {
              if (!(error instanceof BufferUnavailable)) return Effect.fail(error as Exclude<E, BufferUnavailable>)
              const again = left > 1 && !(error.isSent && what === "write")
              return Effect.andThen(leases.suspect(), again ? attempt(left - 1) : Effect.fail(uncertain()))
            })
      )
    return attempt(3)
  }

  /** Past the buffer as soon as nobody uses it; by it, should it be there again before that. */
  const unlessHeld = <A, E>(effect: Effect.Effect<A, E | BufferLeased>) =>
    Effect.clockWith((clock) => {
      const until = monotonicMs(clock) + leases.ttlMs + 2 * heldEveryMs
      const attempt: Effect.Effect<A, Exclude<E, BufferLeased> | StorageUnavailable> = Effect.catch(effect, (error) => {
        if (!(error instanceof BufferLeased)) return Effect.fail(error as Exclude<E, BufferLeased>)
        if (monotonicMs(clock) > until) {
          return Effect.fail(elsewhere())
        }
        return Effect.delay(attempt, heldEveryMs)
      })
      return attempt
    })

  const unlessFull = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.suspend((): Effect.Effect<A, E | BufferFull> => (leases.isFull() ? Effect.fail(new BufferFull()) : effect))

  return { through, unlessHeld, unlessFull }
}
export type WriteRouting = ReturnType<typeof makeWriteRouting>
