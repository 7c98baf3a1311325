// The dependency graph: which layer provides which service. To swap an implementation, change its line here.
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Duration, Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { AdminGuard, AdminToken } from "./admin/AdminGuard.ts"
import * as AdminMiddleware from "./admin/AdminMiddleware.ts"
import * as AdminRoutes from "./admin/AdminRoutes.ts"
import * as CatalogHandlers from "./admin/CatalogHandlers.ts"
import * as Health from "./admin/Health.ts"
import * as MetricsRoute from "./admin/MetricsRoute.ts"
import * as RecordHandlers from "./admin/RecordHandlers.ts"
import * as StartLine from "./admin/StartLine.ts"
import * as AutoAssign from "./assistant/AutoAssign.ts"
import { Cancellation } from "./assistant/Cancellation.ts"
import { Coaching } from "./assistant/Coaching.ts"
import { Deltas } from "./assistant/Deltas.ts"
import { Generation } from "./assistant/Generation.ts"
import { Prompts } from "./assistant/Prompts.ts"
import { Call } from "./calls/Call.ts"
import { Breaker } from "./calls/fetch/Breaker.ts"
import { Fetch } from "./calls/fetch/Fetch.ts"
import { ResponseCache } from "./calls/fetch/ResponseCache.ts"
import { Lookup } from "./calls/Lookup.ts"
import { Record } from "./calls/Record.ts"
import { Catalog } from "./catalog/Catalog.ts"
import { CatalogEditor } from "./catalog/CatalogEditor.ts"
import { CatalogRedis } from "./catalog/CatalogRedis.ts"
import { CatalogStore } from "./catalog/CatalogStore.ts"
import { CatalogSync } from "./catalog/CatalogSync.ts"
import * as SampleCatalog from "./catalog/sample/SampleCatalog.ts"
import * as SampleUpstream from "./catalog/sample/SampleUpstream.ts"
import { RateLimits } from "./cluster/limits/RateLimits.ts"
import { UserLimits } from "./cluster/limits/UserLimits.ts"
import * as UserLimitsRedis from "./cluster/limits/UserLimitsRedis.ts"
import { Locks } from "./cluster/locks/Locks.ts"
import { MembershipCache } from "./cluster/rooms/MembershipCache.ts"
import { Presence } from "./cluster/rooms/Presence.ts"
import * as RoomBusMemory from "./cluster/rooms/RoomBusMemory.ts"
import * as RoomBusRedis from "./cluster/rooms/RoomBusRedis.ts"
import { RoomBusState } from "./cluster/rooms/RoomBusState.ts"
import { SharedCache } from "./cluster/SharedCache.ts"
import { SharedStores } from "./cluster/stores/SharedStores.ts"
import { Connections } from "./gateway/connection/Connections.ts"
import { Gateway } from "./gateway/Gateway.ts"
import { Handling } from "./gateway/handlers/Handlers.ts"
import { Authentication } from "./gateway/http/Authentication.ts"
import * as WelcomeRoute from "./gateway/http/WelcomeRoute.ts"
import { Dispatcher } from "./gateway/requests/Dispatcher.ts"
import { FailureLog } from "./gateway/requests/FailureLog.ts"
import { EgressPolicy } from "./infra/http/EgressPolicy.ts"
import { Http } from "./infra/http/Http.ts"
import { LocalHosts } from "./infra/http/LocalHosts.ts"
import { DatabaseHealth } from "./infra/postgres/DatabaseHealth.ts"
import * as PostgresEmbedded from "./infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "./infra/postgres/PostgresServer.ts"
import * as Redis from "./infra/redis/Redis.ts"
import { RedisHealth } from "./infra/redis/RedisHealth.ts"
import { Lifecycle } from "./observability/Lifecycle.ts"
import * as Logging from "./observability/Logging.ts"
import { Metrics } from "./observability/Metrics.ts"
import * as Telemetry from "./observability/Telemetry.ts"
import { Access } from "./rooms/Access.ts"
import { Contacts } from "./rooms/Contacts.ts"
import { CustomEvents } from "./rooms/CustomEvents.ts"
import { Documents } from "./rooms/Documents.ts"
import { Hub } from "./rooms/delivery/Hub.ts"
import { OutboxRelay } from "./rooms/delivery/OutboxRelay.ts"
import { UnpublishedRooms } from "./rooms/delivery/UnpublishedRooms.ts"
import * as FlushOnLeave from "./rooms/FlushOnLeave.ts"
import { Invites } from "./rooms/Invites.ts"
import { Messages } from "./rooms/Messages.ts"
import { PresenceTracker } from "./rooms/PresenceTracker.ts"
import * as PurgeJob from "./rooms/PurgeJob.ts"
import { RoomReadCache } from "./rooms/RoomReadCache.ts"
import { Rooms } from "./rooms/Rooms.ts"
import { Signals } from "./rooms/Signals.ts"
import { Subscriptions } from "./rooms/Subscriptions.ts"
import { Threads } from "./rooms/Threads.ts"
import { Settings } from "./Settings.ts"
import * as DocumentStoreBuffered from "./storage/buffer/DocumentStoreBuffered.ts"
import { Flusher } from "./storage/buffer/Flusher.ts"
import { FlushTarget } from "./storage/buffer/FlushTarget.ts"
import * as MessageStoreBuffered from "./storage/buffer/MessageStoreBuffered.ts"
import { UnflushedWrites } from "./storage/buffer/UnflushedWrites.ts"
import * as WriteBufferRedis from "./storage/buffer/WriteBufferRedis.ts"
import { WriteMode } from "./storage/buffer/WriteMode.ts"
import { WriteRouting } from "./storage/buffer/WriteRouting.ts"
import { WriterLeases } from "./storage/buffer/WriterLeases.ts"
import { DeadLetters } from "./storage/DeadLetters.ts"
import { LockFences } from "./storage/LockFences.ts"
import * as RecordDrain from "./storage/records/RecordDrain.ts"
import * as RecordPartitions from "./storage/records/RecordPartitions.ts"
import { RecordStore } from "./storage/records/RecordStore.ts"
import { RecordStream } from "./storage/records/RecordStream.ts"
import { RecordWriter } from "./storage/records/RecordWriter.ts"
import * as RoomStoresSql from "./storage/rooms/StoresSql.ts"
import { UnpublishedNotices } from "./storage/rooms/UnpublishedNotices.ts"

const DatabaseLayer = Layer.unwrap(
  Effect.map(Settings, ({ DATABASE_TIMEOUT, DATABASE_URL, DATA_DIR }) =>
    DATABASE_URL === undefined
      ? PostgresEmbedded.layer({ dataDir: DATA_DIR, timeout: DATABASE_TIMEOUT }).pipe(Layer.provide(NodeServices.layer))
      : Postgres.layer({ url: DATABASE_URL, timeout: DATABASE_TIMEOUT })
  )
)

const HttpLayer = Http.layer.pipe(Layer.provideMerge(Layer.mergeAll(LocalHosts.layer, EgressPolicy.layer)))

/** SharedStores is built right after Redis: it verifies that the instances share it, before another layer uses it. */
const infra = <A, E, R>(redis: Layer.Layer<A, E, R>) =>
  Layer.mergeAll(SharedStores.layer, DatabaseHealth.layer, DeadLetters.layer, UnpublishedNotices.layer).pipe(
    Layer.provideMerge(Layer.mergeAll(DatabaseLayer, HttpLayer, redis))
  )

const Records = Layer.mergeAll(RecordDrain.layer, RecordPartitions.layer).pipe(
  Layer.provideMerge(RecordWriter.layer),
  Layer.provideMerge(RecordStore.layer)
)

const RoomStores = RoomStoresSql.layer.pipe(Layer.provide(LockFences.layer))

const DirectRoomStores = Layer.merge(RoomStores, Flusher.layerNone)

/**
 * Messages and documents are acknowledged by the buffer, and flushed to the stores behind it. Over the ports
 * WriteBuffer, WriterLeases and FlushTarget.
 */
export const Buffered = Layer.mergeAll(DocumentStoreBuffered.layer, MessageStoreBuffered.layer).pipe(
  Layer.provideMerge(WriteRouting.layer),
  Layer.provideMerge(WriteMode.layer),
  Layer.provideMerge(Layer.mergeAll(Flusher.layer, UnflushedWrites.layer))
)

const BufferInRedis = Layer.unwrap(
  Effect.map(Settings, ({ FLUSH_INTERVAL }) => WriteBufferRedis.layer(Duration.toMillis(FLUSH_INTERVAL)))
)

const BufferedRoomStores = Buffered.pipe(
  Layer.provideMerge(BufferInRedis),
  Layer.provide([WriterLeases.layer, FlushTarget.layer]),
  Layer.provideMerge(RoomStores)
)

/** Without REDIS_URL: a single instance, whose memory holds what instances share in Redis. */
const InProcess = Layer.mergeAll(
  CatalogRedis.layerNone,
  RecordStream.layerNone,
  DirectRoomStores,
  Presence.layerMemory,
  MembershipCache.layerMemory,
  Locks.layerMemory,
  RateLimits.layerMemory,
  UserLimits.layerMemory,
  SharedCache.layerMemory
).pipe(Layer.provideMerge(RoomBusMemory.layerAlone), Layer.provide(RoomBusState.layer))

/** With REDIS_URL: any number of instances. */
const OverRedis = Layer.mergeAll(
  CatalogRedis.layer,
  RecordStream.layer,
  Layer.unwrap(
    Effect.map(Settings, ({ ROOM_WRITES }) => (ROOM_WRITES === "postgres" ? DirectRoomStores : BufferedRoomStores))
  ),
  RoomBusRedis.layer,
  Presence.layer,
  MembershipCache.layer,
  Locks.layer,
  RateLimits.layer,
  UserLimitsRedis.layer,
  SharedCache.layer
)

/** The only place that asks whether there is a Redis. */
const Backing = Layer.unwrap(
  Effect.map(Settings, ({ REDIS_PREFIX, REDIS_TIMEOUT, REDIS_URL }) =>
    REDIS_URL === undefined
      ? InProcess.pipe(Layer.provideMerge(infra(RedisHealth.layerNone)))
      : OverRedis.pipe(
          Layer.provideMerge(
            infra(
              Redis.layer({ url: REDIS_URL, commandTimeout: REDIS_TIMEOUT, maxInFlight: 10_000, prefix: REDIS_PREFIX })
            )
          )
        )
  )
)

const Catalogs = Layer.mergeAll(CatalogEditor.layer, CatalogSync.layer).pipe(Layer.provideMerge(Catalog.layer))

const Exchanges = Layer.mergeAll(Lookup.layer, Fetch.layer).pipe(Layer.provide([Breaker.layer, ResponseCache.layer]))

const Calls = Call.layer.pipe(Layer.provide([Exchanges, Record.layer]))

const RoomServices = Layer.mergeAll(
  Documents.layer,
  PurgeJob.layer,
  Subscriptions.layer,
  FlushOnLeave.layer,
  Messages.layer,
  Contacts.layer,
  CustomEvents.layer,
  Signals.layer,
  Rooms.layer,
  Threads.layer
).pipe(
  Layer.provideMerge(Invites.layer),
  Layer.provideMerge(OutboxRelay.layer),
  Layer.provide(PresenceTracker.layer),
  Layer.provideMerge(Hub.layer),
  Layer.provideMerge(Access.layer),
  Layer.provide(RoomReadCache.layer),
  Layer.provide(UnpublishedRooms.layer)
)

const Assistant = Layer.mergeAll(AutoAssign.layer, Coaching.layer, Generation.layer).pipe(
  Layer.provide([Cancellation.layer, Deltas.layer, Prompts.layer]),
  Layer.provide([Exchanges, RoomServices])
)

const Admin = AdminRoutes.layer.pipe(
  Layer.provide([CatalogHandlers.layer, RecordHandlers.layer]),
  Layer.provide(AdminMiddleware.layer),
  Layer.provide(AdminGuard.layer)
)

/** The routes of plain HTTP requests. */
export const Routes = Layer.mergeAll(Health.layer, MetricsRoute.layer, WelcomeRoute.layer, Admin).pipe(
  Layer.provideMerge(HttpRouter.layer),
  // A user's id has up to 256 characters, three times as many when escaped. Paths match exactly, so that a proxy's rule
  // for a path can't be circumvented by another spelling.
  Layer.provide(
    Layer.succeed(HttpRouter.RouterConfig, {
      maxParamLength: 1024,
      caseSensitive: true,
      ignoreDuplicateSlashes: false,
      ignoreTrailingSlash: false
    })
  )
)

/**
 * Everything that answers requests, over the ports of stores, bus and HTTP client: no socket is open and no server
 * listens. `hotpath/testing` builds it over ports in memory.
 */
export const Core = Connections.layer.pipe(
  Layer.provide(Dispatcher.layer),
  Layer.provide(FailureLog.layer),
  Layer.provide(Handling.layer),
  Layer.provideMerge(Authentication.layer),
  Layer.provideMerge(Layer.mergeAll(Assistant, Calls, RoomServices)),
  Layer.provideMerge(Catalogs)
)

const Samples = Layer.mergeAll(SampleUpstream.layer, SampleCatalog.layer)

/** Everything except settings and telemetry. The gateway is built last, so that it listens when the rest is ready. */
export const Service = Gateway.layer.pipe(
  Layer.provide(Routes),
  Layer.provide(Core),
  Layer.provideMerge(Samples),
  Layer.provide([CatalogStore.layer, Records]),
  Layer.provideMerge(Backing)
)

export const App = Service.pipe(
  Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer, AdminToken.layer)),
  Layer.provide(StartLine.layer),
  Layer.provideMerge(Telemetry.layer),
  Layer.provideMerge(Logging.layer),
  Layer.provideMerge(Settings.layer)
)
