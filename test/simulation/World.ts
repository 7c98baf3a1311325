// What the instances of a run share, and the building of an instance over it: the whole service as App.ts puts it together,
// without a server, each of its ports behind the border.
import { ConfigProvider, Context, Effect, Exit, Layer, Logger, Scope } from "effect"
import { Redis } from "effect/persistence"
import { Core } from "../../src/App.ts"
import { AdminToken } from "../../src/admin/AdminGuard.ts"
import { CatalogRedis, CatalogRedisState, CatalogRedisUnavailable } from "../../src/catalog/CatalogRedis.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { CatalogStoreState } from "../../src/catalog/CatalogStoreState.ts"
import { RateLimitState } from "../../src/cluster/limits/RateLimitState.ts"
import { RateLimits } from "../../src/cluster/limits/RateLimits.ts"
import { UserLimits } from "../../src/cluster/limits/UserLimits.ts"
import { LockCommands, LockState } from "../../src/cluster/locks/LockCommands.ts"
import { Locks } from "../../src/cluster/locks/Locks.ts"
import { MembershipCache, MembershipCacheState } from "../../src/cluster/rooms/MembershipCache.ts"
import { Presence } from "../../src/cluster/rooms/Presence.ts"
import { PresenceCommands } from "../../src/cluster/rooms/PresenceCommands.ts"
import { PresenceState } from "../../src/cluster/rooms/PresenceMemory.ts"
import { BusUnavailable, RoomBus } from "../../src/cluster/rooms/RoomBus.ts"
import * as RoomBusMemory from "../../src/cluster/rooms/RoomBusMemory.ts"
import { RoomBusState } from "../../src/cluster/rooms/RoomBusState.ts"
import { SharedCache, SharedCacheState } from "../../src/cluster/SharedCache.ts"
import { SharedStores } from "../../src/cluster/stores/SharedStores.ts"
import { StorageUnavailable } from "../../src/domain/Room.ts"
import { Connections } from "../../src/gateway/connection/Connections.ts"
import { EgressPolicy } from "../../src/infra/http/EgressPolicy.ts"
import { Http, HttpTimeout, HttpUnreachable } from "../../src/infra/http/Http.ts"
import { LocalHosts } from "../../src/infra/http/LocalHosts.ts"
import { DatabaseUnavailable } from "../../src/infra/postgres/Database.ts"
import { DatabaseHealth } from "../../src/infra/postgres/DatabaseHealth.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { RedisUnavailable } from "../../src/infra/redis/RedisUnavailable.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"
import * as DocumentStoreBuffered from "../../src/storage/buffer/DocumentStoreBuffered.ts"
import { Flusher } from "../../src/storage/buffer/Flusher.ts"
import { FlushTarget } from "../../src/storage/buffer/FlushTarget.ts"
import * as MessageStoreBuffered from "../../src/storage/buffer/MessageStoreBuffered.ts"
import * as FlushTargetMemory from "../../src/storage/buffer/memory/FlushTargetMemory.ts"
import * as WriteBufferMemory from "../../src/storage/buffer/memory/WriteBufferMemory.ts"
import { WriteBufferState } from "../../src/storage/buffer/memory/WriteBufferState.ts"
import { WriterLeasesState } from "../../src/storage/buffer/memory/WriterLeasesState.ts"
import { UnflushedWrites } from "../../src/storage/buffer/UnflushedWrites.ts"
import { BufferUnavailable, WriteBuffer } from "../../src/storage/buffer/WriteBuffer.ts"
import { WriteMode } from "../../src/storage/buffer/WriteMode.ts"
import { WriteRouting } from "../../src/storage/buffer/WriteRouting.ts"
import { WriterLeases } from "../../src/storage/buffer/WriterLeases.ts"
import { DeadLetters, DeadLettersState } from "../../src/storage/DeadLetters.ts"
import { LockFencesState } from "../../src/storage/LockFences.ts"
import * as RecordDrain from "../../src/storage/records/RecordDrain.ts"
import { RecordStreamUnavailable } from "../../src/storage/records/RecordLog.ts"
import { RecordStreamState } from "../../src/storage/records/RecordLogMemory.ts"
import { RecordStore, RecordStoreState } from "../../src/storage/records/RecordStore.ts"
import { RecordStream } from "../../src/storage/records/RecordStream.ts"
import { RecordWriter } from "../../src/storage/records/RecordWriter.ts"
import { ContactStore } from "../../src/storage/rooms/ContactStore.ts"
import { DocumentStore } from "../../src/storage/rooms/DocumentStore.ts"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { MemoryRooms } from "../../src/storage/rooms/memory/MemoryRooms.ts"
import * as StoresMemory from "../../src/storage/rooms/memory/StoresMemory.ts"
import { Outbox } from "../../src/storage/rooms/Outbox.ts"
import { RoomPurge } from "../../src/storage/rooms/RoomPurge.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import { UnpublishedNotices, UnpublishedNoticesState } from "../../src/storage/rooms/UnpublishedNotices.ts"
import { makeOverrides } from "../../src/testing/Overrides.ts"
import { type Boundary, type Group, intercept } from "./Boundary.ts"
import { type Deliver, makeBus } from "./SimulatedBus.ts"

/** Short, so that little of a run is waiting. */
const environment = {
  PING_INTERVAL: "3 seconds",
  PONG_TIMEOUT: "2 seconds",
  FLUSH_INTERVAL: "1 second",
  CATALOG_REFRESH: "2 seconds",
  SHUTDOWN_DEADLINE: "10 seconds"
}

const Base = Layer.mergeAll(Metrics.layer, Lifecycle.layer, AdminToken.layer).pipe(
  Layer.provideMerge(Settings.layer),
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment))),
  Layer.provideMerge(Logger.layer([]))
)

const Shared = Layer.mergeAll(
  CatalogRedisState.layer,
  CatalogStoreState.layerWith({ integrations: { weather: { url: "http://x/" } } }),
  DeadLettersState.layer,
  RecordStreamState.layer,
  RecordStoreState.layer,
  MemoryRooms.layer,
  UnpublishedNoticesState.layer,
  LockFencesState.layer,
  WriterLeasesState.layer,
  WriteBufferState.layer,
  LockState.layer,
  MembershipCacheState.layer,
  PresenceState.layer,
  RateLimitState.layer,
  SharedCacheState.layer
).pipe(Layer.provideMerge(RoomBusState.layer), Layer.provideMerge(SharedStores.layerAlone), Layer.provide(Base))
export type SharedServices = Layer.Success<typeof Shared>

/** Deadlines of commands and statements, as the defaults of REDIS_TIMEOUT and DATABASE_TIMEOUT. */
const timeouts: Readonly<Record<Group, number>> = { redis: 500, postgres: 5000, upstream: 3000 }

const storage = () => new StorageUnavailable({ reason: "away" })
const database = () => new DatabaseUnavailable({ reason: "away" })
const bus = () => new BusUnavailable({ cause: new Error("away") })

/** Passed as they are: they wait for what comes, or make no call. */
const untouched: ReadonlySet<string> = new Set([
  "receive",
  "take",
  "takeSignals",
  "gap",
  "ready",
  "changes",
  "received",
  "onReturn"
])

const makePorts = (boundary: Boundary, shared: Context.Context<SharedServices>, deliver: Deliver) => {
  const bordered = <S extends object>(name: string, service: S, group: Group, away: (isSent: boolean) => unknown): S =>
    intercept(service, boundary.around(name, group, timeouts[group], away), untouched)

  const through =
    <I, S extends object>(tag: Context.Key<I, S>, group: Group, away: (isSent: boolean) => unknown) =>
    <E, R>(layer: Layer.Layer<I, E, R>): Layer.Layer<I, E, R> =>
      Layer.effect(
        tag,
        Effect.map(Layer.build(layer), (context) =>
          bordered(tag.key.split("/").at(-1) ?? "", Context.get(context, tag), group, away)
        )
      )
  /** A service over commands to Redis, which go through the border. */
  const commanded = <I extends object, S extends object, A, E, R>(
    tag: Context.Key<I, S>,
    layer: Layer.Layer<A, E, R>
  ) => {
    const name = tag.key.split("/").at(-1) ?? ""
    const away = () => new Redis.RedisError({ cause: new Error("away") })
    const override = (original: unknown) => bordered(name, original as S, "redis", away)
    return Layer.fromBuildMemo<A, E, R>((_memoMap, scope) =>
      Layer.buildWithMemoMap(layer, makeOverrides([[tag.key, override]]), scope)
    )
  }

  const given = Layer.succeedContext(shared)
  const streamState = Context.get(shared, RecordStreamState)
  const Records = RecordStream.layerShared.pipe(
    Layer.provide(
      Layer.succeed(RecordStreamState, {
        ...streamState,
        log: boundary.patient(
          "claim",
          bordered("RecordLog", streamState.log, "redis", () => new RecordStreamUnavailable({ reason: "away" }))
        )
      })
    )
  )

  const roomStores = Layer.effectContext(
    Effect.map(Layer.build(StoresMemory.layerShared), (stores) => {
      const of = <I, S extends object>(tag: Context.Key<I, S>, context: Context.Context<I>) =>
        Context.make(tag, bordered(tag.key.split("/").at(-1) ?? "", Context.get(context, tag), "postgres", storage))
      return Context.mergeAll(
        of(ContactStore, stores),
        of(DocumentStore, stores),
        of(InviteStore, stores),
        of(MemberStore, stores),
        of(MessageStore, stores),
        of(Outbox, stores),
        of(RoomPurge, stores),
        of(RoomStore, stores),
        of(ThreadStore, stores)
      )
    })
  )

  const buffer = WriteBufferMemory.layerShared(1000).pipe(
    Layer.provide(RoomBusMemory.layerLog),
    through(WriteBuffer, "redis", (isSent) => new BufferUnavailable({ isSent, cause: new Error("away") }))
  )
  const flushing = FlushTargetMemory.layer.pipe(through(FlushTarget, "postgres", storage))
  const leases = WriterLeases.layerShared.pipe(through(WriterLeases, "postgres", storage))
  // As in App.ts.
  const buffered = Layer.mergeAll(DocumentStoreBuffered.layer, MessageStoreBuffered.layer).pipe(
    Layer.provideMerge(WriteRouting.layer),
    Layer.provideMerge(WriteMode.layer),
    Layer.provide(leases),
    Layer.provideMerge(Layer.mergeAll(Flusher.layer, UnflushedWrites.layer)),
    Layer.provide(flushing),
    Layer.provide(DeadLetters.layerShared.pipe(through(DeadLetters, "postgres", database))),
    Layer.provideMerge(buffer),
    Layer.provideMerge(roomStores)
  )

  return Layer.mergeAll(
    CatalogRedis.layerShared.pipe(
      through(CatalogRedis, "redis", () => new CatalogRedisUnavailable({ cause: new Error("away") }))
    ),
    CatalogStore.layerShared.pipe(through(CatalogStore, "postgres", database)),
    RecordDrain.layer.pipe(
      Layer.provideMerge(RecordWriter.layer),
      Layer.provideMerge(
        Layer.mergeAll(
          Records,
          RecordStore.layerShared.pipe(through(RecordStore, "postgres", database)),
          DeadLetters.layerShared.pipe(through(DeadLetters, "postgres", database))
        )
      )
    ),
    UnpublishedNotices.layerShared.pipe(through(UnpublishedNotices, "postgres", database)),
    buffered,
    commanded(LockCommands, Locks.layerShared),
    RateLimits.layerShared,
    UserLimits.layerMemory,
    Layer.effect(
      RoomBus,
      makeBus((shared) => bordered("RoomBus", shared, "redis", bus), deliver)
    ).pipe(Layer.provide(RoomBusMemory.layerShared)),
    commanded(PresenceCommands, Presence.layerShared),
    MembershipCache.layerShared.pipe(Layer.provide(RoomBusMemory.layerShared), through(MembershipCache, "redis", bus)),
    SharedCache.layerShared.pipe(
      through(SharedCache, "redis", (isSent) => new RedisUnavailable({ isSent, cause: new Error("away") }))
    ),
    Http.layerScripted(() =>
      Effect.as(Effect.sleep(20), { status: 200, body: '{"temperature":21}', contentType: "application/json" })
    ).pipe(
      through(Http, "upstream", (isSent) => (isSent ? new HttpTimeout() : new HttpUnreachable({ reason: "away" })))
    ),
    EgressPolicy.layer.pipe(Layer.provideMerge(LocalHosts.layer)),
    DatabaseHealth.layerMemory,
    RedisHealth.layerNone
  ).pipe(Layer.provideMerge(given))
}

const instanceLayer = (boundary: Boundary, shared: Context.Context<SharedServices>, deliver: Deliver) =>
  Core.pipe(Layer.provideMerge(makePorts(boundary, shared, deliver)), Layer.provideMerge(Base))
export type Services = Layer.Success<ReturnType<typeof instanceLayer>>

export interface Built<A> {
  readonly context: Context.Context<A>
  readonly scope: Scope.Closeable
}

const build = <A, E>(layer: Layer.Layer<A, E>): Effect.Effect<Built<A>, E> =>
  Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    return Effect.map(Layer.buildWithScope(Layer.fresh(layer), scope), (context) => ({ context, scope }))
  })

export const buildShared = build(Shared)

/** Ready to take connections, which it drains when it is told to stop. */
export const buildInstance = (boundary: Boundary, shared: Context.Context<SharedServices>, deliver: Deliver) =>
  Effect.tap(build(instanceLayer(boundary, shared, deliver)), ({ context, scope }) =>
    Effect.andThen(
      Scope.addFinalizer(scope, Context.get(context, Connections).drain),
      Context.get(context, Lifecycle).ready
    )
  )

/** What is done when an instance is told to stop: as main.ts does. */
export const stopInstance = ({ context, scope }: Built<Services>) =>
  Effect.provideContext(Scope.close(scope, Exit.void), context)
