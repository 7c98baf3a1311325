// The leases of instances that use the write buffer, in memory. As in Postgres, an expired lease is remembered for an
// hour, and no lease begins while a direct write is under way.
import { Clock, Context, Effect, Layer, Semaphore } from "effect"

const rememberedMs = 3_600_000
/** Direct writes at once; more of them wait. */
const maxBypasses = 1000

interface Lease {
  readonly incarnation: string
  readonly until: number
}

const make = () => {
  const leases = new Map<string, Lease>()
  // A direct write has one permit; the beginning of a lease takes all.
  const bypasses = Semaphore.makeUnsafe(maxBypasses)
  let current = { number: 0, incarnation: "", began: 0 }
  let origin: string | undefined

  const lasting = (now: number) => [...leases].filter(([, { until }]) => until >= now)

  return {
    lease: (instance: string, incarnation: string, ttlMs: number) =>
      bypasses.withPermits(maxBypasses)(
        Effect.map(Clock.currentTimeMillis, (now) => {
          for (const [other, { until }] of leases) if (until < now - rememberedMs) leases.delete(other)
          const others = lasting(now)
          const isAgreed = others.every(([other, lease]) => other === instance || lease.incarnation === incarnation)
          const isNew = others.length === 0 || (isAgreed && current.incarnation !== incarnation)
          if (isNew) current = { number: current.number + 1, incarnation, began: now }
          leases.set(instance, { incarnation, until: now + ttlMs })
          const isWhole = [...leases.values()].every(({ until }) => until >= now)
          return { number: current.number, ageMs: now - current.began, isAgreed, isWhole }
        })
      ),
    release: (instance: string) => Effect.sync(() => void leases.delete(instance)),
    isLeasedElsewhere: (instance: string) =>
      Effect.map(Clock.currentTimeMillis, (now) => lasting(now).some(([other]) => other !== instance)),
    /** Runs the write unless a lease lasts: then `refused`. */
    bypass: <A, E, R, E2>(write: Effect.Effect<A, E, R>, refused: Effect.Effect<never, E2>) =>
      bypasses.withPermits(1)(
        Effect.flatMap(
          Clock.currentTimeMillis,
          (now): Effect.Effect<A, E | E2, R> => (lasting(now).length > 0 ? refused : write)
        )
      ),
    recordOrigin: (next: string) =>
      Effect.sync(() => {
        const former = origin
        origin = next
        return former
      })
  }
}

export class WriterLeasesState extends Context.Service<WriterLeasesState, ReturnType<typeof make>>()(
  "hotpath/storage/buffer/memory/WriterLeasesState"
) {
  static readonly layer = Layer.sync(WriterLeasesState, make)
}
