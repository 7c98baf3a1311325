// The catalog's source of truth: the integrations and user configurations, their versions, edits with optimistic
// concurrency, and a stream of what changes. In Postgres (CatalogSql.ts), or in memory (CatalogStoreState.ts).
import { Clock, Context, Effect, Layer, type Result, Schema, Stream } from "effect"
import { type Integration, IntegrationDefinition } from "../domain/Integration.ts"
import { ConfigObject, makeUserConfig } from "../domain/UserConfig.ts"
import type { CatalogKind, Expected, NotFound, Versioned, VersionMismatch } from "../domain/Version.ts"
import type { CatalogNotification, CatalogRow, CatalogStoreError } from "./CatalogEntry.ts"
import { makeCatalogSql } from "./CatalogSql.ts"
import { type CatalogContent, CatalogStoreState } from "./CatalogStoreState.ts"

/** A row that was written by plain SQL and does not decode. */
export class CatalogRowInvalid extends Schema.TaggedError<CatalogRowInvalid>()("CatalogRowInvalid", {
  row: Schema.String,
  version: Schema.Finite,
  reason: Schema.String
}) {}

const decoder = <A, B>(
  schema: Schema.ConstraintDecoder<A>,
  rowOf: (key: string) => string,
  make: (key: string, version: number, decoded: A) => B
) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (key: string, version: number, content: unknown) =>
    decode(content).pipe(
      Effect.map((decoded) => make(key, version, decoded)),
      // A value that is nested 5,000 deep overflows the decoder's stack.
      Effect.catchDefect((defect) => Effect.fail(new Error(String(defect)))),
      Effect.mapError(({ message }) => new CatalogRowInvalid({ row: rowOf(key), version, reason: message }))
    )
}

export const decodeIntegration = decoder(
  IntegrationDefinition,
  (name) => `integration ${name}`,
  (name, version, definition): Integration => ({ name, version, definition })
)

export const decodeUserConfig = decoder(
  ConfigObject,
  () => "user config",
  (_user, version, config) => makeUserConfig(version, config)
)

export class CatalogStore extends Context.Service<
  CatalogStore,
  {
    /** The content as stored. */
    readonly read: (kind: CatalogKind, key: string) => Effect.Effect<Versioned<unknown>, CatalogStoreError>
    /** The versions of those keys that ever had one. */
    readonly versions: (
      kind: CatalogKind,
      keys: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyMap<string, number>, CatalogStoreError>
    readonly find: (kind: CatalogKind, key: string) => Effect.Effect<CatalogRow | undefined, CatalogStoreError>
    /** Entries whose key comes after `after`, in order. */
    readonly list: (
      kind: CatalogKind,
      after: string | undefined,
      limit: number
    ) => Effect.Effect<ReadonlyArray<CatalogRow>, CatalogStoreError>
    /** Creates or replaces an entry; returns its new version. */
    readonly put: (
      kind: CatalogKind,
      key: string,
      content: unknown,
      expected: Expected
    ) => Effect.Effect<number, VersionMismatch | CatalogStoreError>
    /** Returns the version of the deletion. */
    readonly delete: (
      kind: CatalogKind,
      key: string,
      expected: Expected
    ) => Effect.Effect<number, NotFound | VersionMismatch | CatalogStoreError>
    /** Every change of every instance, as it commits. After a lost connection the stream goes on with a `Gap`. */
    readonly changes: Stream.Stream<CatalogNotification>
    /** Completes when the store can be used for the first time. */
    readonly ready: Effect.Effect<void>
    /** Writes a sample integration, unless its name was edited. */
    readonly putSample: (name: string, definition: unknown) => Effect.Effect<void, CatalogStoreError>
  }
>()("hotpath/catalog/CatalogStore") {
  static readonly layer = Layer.effect(CatalogStore, Effect.map(makeCatalogSql, CatalogStore.of))

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Layer.effect(
    CatalogStore,
    Effect.map(CatalogStoreState, (state) => {
      const step = <A, E>(run: (now: number) => Result.Result<A, E>) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fromResult(run(now)))
      return CatalogStore.of({
        ready: Effect.void,
        read: (kind, key) => Effect.sync(() => state[kind].read(key)),
        versions: (kind, keys) => Effect.sync(() => state[kind].versions(keys)),
        find: (kind, key) => Effect.sync(() => state[kind].find(key)),
        list: (kind, after, limit) => Effect.sync(() => state[kind].list(after, limit)),
        put: (kind, key, content, expected) => step((now) => state[kind].put(now, key, content, expected)),
        delete: (kind, key, expected) => step(() => state[kind].delete(key, expected)),
        putSample: (name, definition) =>
          Effect.asVoid(step((now) => state.integration.putSample(now, name, definition))),
        changes: Stream.map(
          state.changes,
          (notification): CatalogNotification =>
            notification._tag === "Notified"
              ? { _tag: "Changed", changes: notification.payloads, unnamed: 0 }
              : notification
        )
      })
    })
  )

  /** In memory, of one instance, with the given content. */
  static readonly layerMemory = (content: CatalogContent = {}) =>
    Layer.provide(CatalogStore.layerShared, CatalogStoreState.layerWith(content))
}
