// Routes an operation through the write buffer or directly to Postgres, and defines what happens when neither is
// available.
//
// A write whose outcome in the buffer is unknown fails. Repeating it, on either route, keeps it once. Everything else
// that the buffer did not answer is tried again, up to three times in all. An answer may also come when the buffer was
// left: its copies are saved, and others read Postgres. Then something new is saved before it is acknowledged, and a
// change counts as unknown, as another one may have been made directly.
import { Clock, Context, Effect, Layer } from "effect"
import { BufferFull, StorageUnavailable } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { BufferUnavailable } from "./WriteBuffer.ts"
import { type Lease, WriteMode } from "./WriteMode.ts"
import { BufferLeased } from "./WriterLeases.ts"

const attempts = 3
/** Pause between two attempts to write to Postgres while other instances use the buffer. */
const retryEveryMs = 100

export const uncertain = () => new StorageUnavailable({ reason: "the buffer did not say whether it was kept" })

const usedElsewhere = () => new StorageUnavailable({ reason: "others use the buffer, which is away here" })

/** What an operation does with the buffer, under the lease that this instance holds. */
type Buffered<A, E, R> = (lease: Lease) => Effect.Effect<A, E | BufferUnavailable, R>
type Routed<A, E, A2, E2, R> = Effect.Effect<A | A2, E | E2 | StorageUnavailable, R>
type Route = <A, E, A2, E2, R>(buffered: Buffered<A, E, R>, direct: Effect.Effect<A2, E2, R>) => Routed<A, E, A2, E2, R>

export class WriteRouting extends Context.Service<
  WriteRouting,
  {
    /** Reads through the buffer. Directly only when everything that any instance acknowledged is in Postgres. */
    readonly read: Route
    /** Writes something new. It may go directly to Postgres while other instances use the buffer. */
    readonly insert: Route
    /** Changes something that exists. It goes directly to Postgres only when no instance uses the buffer. */
    readonly update: Route
    /** Refuses a write while the buffer is at a limit (BUFFER_ENTRIES, BUFFER_AGE). */
    readonly unlessFull: <A, E, R>(write: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BufferFull, R>
  }
>()("hotpath/storage/buffer/WriteRouting") {
  static readonly layer = Layer.effect(
    WriteRouting,
    Effect.gen(function* () {
      const mode = yield* WriteMode
      const clock = yield* Clock.Clock
      /** By then every instance that lost the buffer has left it. Instances that still use it are not waited for. */
      const patienceMs = mode.patienceMs + 2 * retryEveryMs

      const leaveAll = Effect.timeoutOrElse(mode.requireAllSaved, {
        duration: patienceMs,
        orElse: () => Effect.fail(usedElsewhere())
      })

      /** Before it is acknowledged: what the buffer took, since `began`, under a lease that may be over. */
      const acknowledge = (what: "insert" | "update", lease: Lease, began: number) => {
        if (mode.isLeased(lease)) return Effect.void
        if (what === "update") return Effect.fail(uncertain())
        return Effect.catch(mode.saveSince(began), () => Effect.fail(uncertain()))
      }

      const route = <A, E, A2, E2, R>(
        what: "read" | "insert" | "update",
        buffered: Buffered<A, E, R>,
        direct: Effect.Effect<A2, E2, R>,
        left = attempts
      ): Routed<A, E, A2, E2, R> =>
        Effect.flatMap(mode.current, (lease): Routed<A, E, A2, E2, R> => {
          const again = () => route(what, buffered, direct, left - 1)
          if (lease === undefined) {
            if (what !== "read") return Effect.andThen(mode.requireSaved, direct)
            return Effect.flatMap(leaveAll, (isLeft) => (isLeft || left === 1 ? direct : again()))
          }
          const began = monotonicMs(clock)
          const taken: Effect.Effect<A, E | BufferUnavailable | StorageUnavailable, R> =
            what === "read" ? buffered(lease) : Effect.tap(buffered(lease), () => acknowledge(what, lease, began))
          return Effect.catch(taken, (error) => {
            if (!(error instanceof BufferUnavailable)) return Effect.fail(error)
            const mayRepeat = left > 1 && !(error.isSent && what !== "read")
            return Effect.andThen(mode.suspect(), mayRepeat ? again() : Effect.fail(uncertain()))
          })
        })

      /** Repeats a write that another instance's lease refuses, until that lease must have ended. */
      const whenUnleased = <A, E, R>(write: Effect.Effect<A, E | BufferLeased, R>) =>
        Effect.suspend(() => {
          const until = monotonicMs(clock) + patienceMs
          const attempt: Effect.Effect<A, E | StorageUnavailable, R> = Effect.catch(write, (error) => {
            if (!(error instanceof BufferLeased)) return Effect.fail(error)
            return monotonicMs(clock) > until ? Effect.fail(usedElsewhere()) : Effect.delay(attempt, retryEveryMs)
          })
          return attempt
        })

      return WriteRouting.of({
        read: (buffered, direct) => route("read", buffered, direct),
        insert: (buffered, direct) => route("insert", buffered, direct),
        update: (buffered, direct) => whenUnleased(route("update", buffered, mode.bypass(direct))),
        unlessFull: <A, E, R>(write: Effect.Effect<A, E, R>) =>
          Effect.suspend(
            (): Effect.Effect<A, E | BufferFull, R> => (mode.isFull() ? Effect.fail(new BufferFull()) : write)
          )
      })
    })
  )
}
