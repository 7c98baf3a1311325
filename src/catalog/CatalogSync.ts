// Keeps this instance's catalog in step with Postgres: a listener hears of every change when it commits, and comparisons
// find what it missed.
//
// The listener subscribes to a channel of Postgres. On each (re)connection everything is compared at once, because
// notifications sent before it may be missing. The comparisons go on beside it: every CATALOG_REFRESH of everything, every
// second of what came from Redis.
import { Cause, Clock, Context, Duration, Effect, Layer, Queue, Stream } from "effect"
import type { CatalogKind } from "../domain/Version.ts"
import { Database, type Notification } from "../infra/postgres/Database.ts"
import { background } from "../observability/Background.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { Catalog, type Change, type Name } from "./Catalog.ts"
import type { CatalogStoreError } from "./CatalogStore.ts"

const channel = "hotpath_catalog"
/** Changes taken from the listener at once. */
const maxChanges = 1000
/** Changes whose copies in Redis are still to be renewed. */
const maxUnpublished = 100_000

/** `kind:version:key`; undefined: about all of them, or not understood, which is the same. */
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
      const heard = counter("catalog_changes_total", "Changes of the catalog that the listener heard of")
      const lost = counter("catalog_listener_lost_total", "Times the listener lost its connection")
      let listening = false
      gauge("catalog_listening", "1 while changes of the catalog are heard at once", () => (listening ? 1 : 0))

      const sync = Effect.gen(function* () {
        const checked = catalog.size()
        return { checked, changed: yield* catalog.check("all") }
      })

      // Behind the listener: 50,000 changes of users who are not here must not keep the next change waiting. What does not
      // fit stays in Redis as it was, and is corrected when it is read.
      const unpublished = yield* Queue.sliding<Name>(maxUnpublished)
      yield* Effect.forkScoped(
        Effect.forever(Effect.flatMap(Queue.takeBetween(unpublished, 1, maxChanges), catalog.publish))
      )

      const hear = (payloads: ReadonlyArray<string>) => {
        heard.add(payloads.length)
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

      const onNotification = Effect.fnUntraced(function* (notification: Notification) {
        switch (notification._tag) {
          case "Gap":
            yield* Effect.ignore(sync)
            listening = true
            return
          case "Lost":
            listening = false
            lost.add()
            return yield* Effect.logWarning("changes of the catalog are not received; they are polled", {
              everyMs: refreshMs
            })
          case "Notified":
            return yield* hear(notification.payloads)
        }
      })
      yield* background(
        "catalog listener",
        Effect.ensuring(
          Stream.runForEach(database.subscribe(channel), onNotification),
          Effect.sync(() => {
            listening = false
          })
        )
      )

      let dueAt = (yield* Clock.currentTimeMillis) + refreshMs
      const tick = Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const isDue = now >= dueAt
        if (isDue) dueAt = now + refreshMs
        yield* catalog.check(isDue ? "all" : "doubtful")
      })
      yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.catchCause(tick, unexpected), "1 second")))

      return CatalogSync.of({ sync, isListening: () => listening })
    })
  )
}
