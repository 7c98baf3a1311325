// Edits the catalog: put, get, delete and list, with optimistic concurrency. An edit is in effect on this instance when
// it returns, and on the others when their listeners receive it.
import { Context, Effect, Layer } from "effect"
import { type CatalogKind, type Expected, NotFound, type VersionMismatch } from "../domain/Version.ts"
import { Catalog } from "./Catalog.ts"
import type { CatalogRow, CatalogStoreError } from "./CatalogEntry.ts"
import { CatalogStore } from "./CatalogStore.ts"

export class CatalogEditor extends Context.Service<
  CatalogEditor,
  {
    /** Creates or replaces an entry; returns its new version. */
    readonly put: (
      kind: CatalogKind,
      key: string,
      content: unknown,
      expected: Expected
    ) => Effect.Effect<number, VersionMismatch | CatalogStoreError>
    readonly get: (kind: CatalogKind, key: string) => Effect.Effect<CatalogRow, NotFound | CatalogStoreError>
    readonly delete: (
      kind: CatalogKind,
      key: string,
      expected: Expected
    ) => Effect.Effect<void, NotFound | VersionMismatch | CatalogStoreError>
    /** Entries whose key comes after `after`, in order. */
    readonly list: (
      kind: CatalogKind,
      after: string | undefined,
      limit: number
    ) => Effect.Effect<ReadonlyArray<CatalogRow>, CatalogStoreError>
  }
>()("hotpath/catalog/CatalogEditor") {
  static readonly layer = Layer.effect(
    CatalogEditor,
    Effect.gen(function* () {
      const store = yield* CatalogStore
      const catalog = yield* Catalog

      // An own edit is applied at once, without waiting for the listener.
      const applied = (kind: CatalogKind, key: string, version: number) =>
        Effect.flatMap(catalog.changed([{ kind, key, version }]), catalog.publish)

      return CatalogEditor.of({
        put: Effect.fn("CatalogEditor.put")(function* (kind, key, content, expected) {
          const version = yield* store.put(kind, key, content, expected)
          yield* applied(kind, key, version)
          return version
        }),
        get: Effect.fn("CatalogEditor.get")(function* (kind, key) {
          return (yield* store.find(kind, key)) ?? (yield* new NotFound({ what: `${kind} ${key}` }))
        }),
        delete: Effect.fn("CatalogEditor.delete")(function* (kind, key, expected) {
          yield* applied(kind, key, yield* store.delete(kind, key, expected))
        }),
        list: Effect.fn("CatalogEditor.list")(function* (kind, after, limit) {
          return yield* store.list(kind, after, limit)
        })
      })
    })
  )
}
