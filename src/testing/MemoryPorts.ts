// Every port of an instance, over the memory that instances share.
import { Duration, Effect, Layer } from "effect"
import { Buffered } from "../App.ts"
import { CatalogRedis } from "../catalog/CatalogRedis.ts"
import { CatalogStore } from "../catalog/CatalogStore.ts"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { UserLimits } from "../cluster/limits/UserLimits.ts"
import { Locks } from "../cluster/locks/Locks.ts"
import { MembershipCache } from "../cluster/rooms/MembershipCache.ts"
import { Presence } from "../cluster/rooms/Presence.ts"
import * as RoomBusMemory from "../cluster/rooms/RoomBusMemory.ts"
import { SharedCache } from "../cluster/SharedCache.ts"
import { SharedStores } from "../cluster/stores/SharedStores.ts"
import { EgressPolicy } from "../infra/http/EgressPolicy.ts"
import { LocalHosts } from "../infra/http/LocalHosts.ts"
import { DatabaseHealth } from "../infra/postgres/DatabaseHealth.ts"
import { RedisHealth } from "../infra/redis/RedisHealth.ts"
import { Settings } from "../Settings.ts"
import { Flusher } from "../storage/buffer/Flusher.ts"
import * as FlushTargetMemory from "../storage/buffer/memory/FlushTargetMemory.ts"
import * as WriteBufferMemory from "../storage/buffer/memory/WriteBufferMemory.ts"
import { WriterLeases } from "../storage/buffer/WriterLeases.ts"
import { DeadLetters } from "../storage/DeadLetters.ts"
import * as RecordDrain from "../storage/records/RecordDrain.ts"
import * as RecordPartitions from "../storage/records/RecordPartitions.ts"
import { RecordStore } from "../storage/records/RecordStore.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { RecordWriter } from "../storage/records/RecordWriter.ts"
import * as StoresMemory from "../storage/rooms/memory/StoresMemory.ts"
import { UnpublishedNotices } from "../storage/rooms/UnpublishedNotices.ts"

const Records = Layer.mergeAll(RecordDrain.layer, RecordPartitions.layer).pipe(
  Layer.provideMerge(RecordWriter.layer),
  Layer.provideMerge(Layer.mergeAll(RecordStore.layerShared, RecordStream.layerShared, DeadLetters.layerShared))
)

const BufferInMemory = Layer.unwrap(
  Effect.map(Settings, ({ FLUSH_INTERVAL }) => WriteBufferMemory.layerShared(Duration.toMillis(FLUSH_INTERVAL)))
).pipe(Layer.provide(RoomBusMemory.layerLog))

const DirectStores = Layer.merge(StoresMemory.layerShared, Flusher.layerNone)

const BufferedStores = Buffered.pipe(
  Layer.provideMerge(BufferInMemory),
  Layer.provide([WriterLeases.layerShared, FlushTargetMemory.layer]),
  Layer.provideMerge(StoresMemory.layerShared),
  Layer.provide(DeadLetters.layerShared)
)

const RoomStores = Layer.unwrap(
  Effect.map(Settings, ({ ROOM_WRITES }) => (ROOM_WRITES === "postgres" ? DirectStores : BufferedStores))
)

export const MemoryPorts = Layer.mergeAll(
  CatalogRedis.layerShared,
  CatalogStore.layerShared,
  Records,
  RoomStores,
  UnpublishedNotices.layerShared,
  Presence.layerShared,
  MembershipCache.layerShared,
  Locks.layerShared,
  RateLimits.layerShared,
  UserLimits.layerMemory,
  SharedCache.layerShared
).pipe(
  Layer.provideMerge(RoomBusMemory.layerShared),
  Layer.provideMerge(Layer.mergeAll(DatabaseHealth.layerMemory, RedisHealth.layerNone, SharedStores.layerAlone)),
  Layer.provideMerge(Layer.provideMerge(EgressPolicy.layer, LocalHosts.layer))
)
