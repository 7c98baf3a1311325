// Keeps this instance's catalog in step with Postgres: a listener receives every change when it commits, and
// comparisons find what it missed.
//
// The listener is listening, on a connection of its own, or away: it tries again with growing pauses of up to 2 s.
// When it listens again, everything is compared at once, because changes in between were not announced to it.
// Comparisons run beside it: of everything every CATALOG_REFRESH, of unverified entries every second.
import { Cause, Clock, Context, Duration, Effect, Layer, Queue } from "effect"
import type { CatalogKind } from "../domain/Version.ts"
import { Database, type DatabaseUnavailable } from "../infra/postgres/Database.ts"
import { background } from "../observability/Background.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { Catalog, type Change, type Name } from "./Catalog.ts"
import type { CatalogStoreError } from "./CatalogStore.ts"

const channel = "hotpath_catalog"
/** Changes taken from the listener at once. */
const maxChanges = 1000
/** Changes whose copies in Redis wait to be renewed. */
const maxUnpublished = 100_000

/** `kind:version:key`. Undefined: the payload is about all keys, or not understood, which is treated alike. */
const parse = (payload: string): Change | undefined => {
  const [, kind, version, key] = /^(integration|config):(\d+):(.+)$/s.exec(payload) ?? []
  if (kind === undefined || key === undefined) return undefined
  return { kind: kind as CatalogKind, version: Number(version), key }
}

export class CatalogSync extends Context.Service<
  CatalogSync,
  {
    /** Compares everything now. */
    readonly sync: Effect.Effect<{ readonly checked: number; readonly changed: number }, CatalogStoreError>
    readonly isListening: () => boolean
  }
>()("hotpath/catalog/CatalogSync") {
  static readonly layer = Layer.effect(
    CatalogSync,
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const database = yield* Database
      const { counter, gauge } = yield* Metrics
      const refreshMs = Duration.toMillis((yield* Settings).CATALOG_REFRESH)
      const received = counter("catalog_changes_total", "Changes of the catalog that the listener received")
      const lost = counter("catalog_listener_lost_total", "Times the listener lost its connection")
      let listening = false
      let attempts = 0
      gauge("catalog_listening", "1 while changes of the catalog are received as they commit", () =>
        listening ? 1 : 0
      )

      const sync = Effect.gen(function* () {
        const checked = catalog.size()
        return { checked, changed: yield* catalog.check("all") }
      })

      // Apart from the listener, so that 50,000 changes of users who are not in memory do not delay the next change.
      // Beyond the bound the oldest are dropped: those copies stay as they are, and are compared when they are read.
      const unpublished = yield* Queue.sliding<Name>(maxUnpublished)
      yield* background(
        "catalog copies",
        Effect.flatMap(Queue.takeBetween(unpublished, 1, maxChanges), catalog.publish)
      )

      const hear = (payloads: ReadonlyArray<string>) => {
        received.add(payloads.length)
        const changes = payloads.map(parse)
        const known = changes.filter((change) => change !== undefined)
        return Effect.andThen(
          Effect.flatMap(catalog.changed(known), (others) => Queue.offerAll(unpublished, others)),
          known.length < changes.length ? Effect.ignore(catalog.check("all")) : Effect.void
        )
      }

      // A loop that ends is worse than whatever ended it.
      const unexpected = (cause: Cause.Cause<unknown>) =>
        Cause.hasDies(cause) ? Effect.logError("the catalog's sync stumbled, and goes on", cause) : Effect.void

      const session: Effect.Effect<never, DatabaseUnavailable> = Effect.gen(function* () {
        yield* database.migrated
        const payloads = yield* database.listen(channel)
        yield* Effect.ignore(sync)
        if (!listening) yield* Effect.logDebug("changes of the catalog are heard")
        listening = true
        attempts = 0
        return yield* Effect.forever(Effect.flatMap(Queue.takeBetween(payloads, 1, maxChanges), hear))
      }).pipe(
        Effect.scoped,
        Effect.onError((cause) =>
          Effect.suspend(() => {
            if (!listening) return Effect.void
            listening = false
            // An orderly stop ends the listener: nothing was lost.
            if (Cause.hasInterruptsOnly(cause)) return Effect.void
            lost.add()
            return Effect.logWarning("changes of the catalog are not heard; they are looked for", {
              everyMs: refreshMs
            })
          })
        )
      )

      const pause = Effect.suspend(() =>
        Effect.sleep(Math.min(100 * 2 ** attempts++, 2000) * (0.8 + 0.4 * Math.random()))
      )
      yield* Effect.forkScoped(
        Effect.forever(Effect.catchCause(session, (cause) => Effect.andThen(unexpected(cause), pause)))
      )

      let dueAt = (yield* Clock.currentTimeMillis) + refreshMs
      const tick = Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const isDue = now >= dueAt
        if (isDue) dueAt = now + refreshMs
        yield* catalog.check(isDue ? "all" : "unverified")
      })
      yield* background("catalog comparison", tick, "1 second")

      return CatalogSync.of({ sync, isListening: () => listening })
    })
  )
}
