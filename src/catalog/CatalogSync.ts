// Keeps this instance's catalog in step with the store: a listener receives every change when it commits, and
// comparisons find what it missed.
//
// The listener reads the store's stream of changes. On each gap in it (a new connection to Postgres) everything is
// compared at once. Comparisons run beside it: of everything every CATALOG_REFRESH, of unverified
// entries every second.
import { Clock, Context, Duration, Effect, Layer, Queue, Stream } from "effect"
import { background } from "../observability/Background.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { Catalog } from "./Catalog.ts"
import type { CatalogNotification, CatalogStoreError, Change, Name } from "./CatalogEntry.ts"
import { CatalogStore } from "./CatalogStore.ts"

/** Changes taken from the listener at once. */
const maxChanges = 1000
/** Changes whose copies in Redis wait to be renewed. */
const maxUnpublished = 100_000

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
      const store = yield* CatalogStore
      const { counter, gauge } = yield* Metrics
      const refreshMs = Duration.toMillis((yield* Settings).CATALOG_REFRESH)
      const received = counter("catalog_changes_total", "Changes of the catalog that the listener received")
      const lost = counter("catalog_listener_lost_total", "Times the listener lost its connection")
      let listening = false
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

      const receive = (changes: ReadonlyArray<Change>, unnamed: number) => {
        received.add(changes.length + unnamed)
        return Effect.andThen(
          Effect.flatMap(catalog.changed(changes), (others) => Queue.offerAll(unpublished, others)),
          unnamed > 0 ? Effect.ignore(catalog.check("all")) : Effect.void
        )
      }

      const onNotification = Effect.fnUntraced(function* (notification: CatalogNotification) {
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
          case "Changed":
            return yield* receive(notification.changes, notification.unnamed)
        }
      })
      yield* background(
        "catalog listener",
        Effect.ensuring(
          Stream.runForEach(store.changes, onNotification),
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
        yield* catalog.check(isDue ? "all" : "unverified")
      })
      yield* background("catalog comparison", tick, "1 second")

      return CatalogSync.of({ sync, isListening: () => listening })
    })
  )
}
