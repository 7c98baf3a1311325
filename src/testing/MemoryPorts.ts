// Every port of an instance, over the memory that instances share.
import { Duration, Effect, Layer } from "effect"
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
import * as DocumentStoreBuffered from "../storage/buffer/DocumentStoreBuffered.ts"
import { Flusher } from "../storage/buffer/Flusher.ts"
import * as MessageStoreBuffered from "../storage/buffer/MessageStoreBuffered.ts"
import * as FlushTargetMemory from "../storage/buffer/memory/FlushTargetMemory.ts"
import * as WriteBufferMemory from "../storage/buffer/memory/WriteBufferMemory.ts"
import { UnflushedWrites } from "../storage/buffer/UnflushedWrites.ts"
import { WriteMode } from "../storage/buffer/WriteMode.ts"
import { WriteRouting } from "../storage/buffer/WriteRouting.ts"
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

const WriteBuffering = Layer.unwrap(
  Effect.map(Settings, ({ FLUSH_INTERVAL }) =>
    WriteRouting.layer.pipe(
      Layer.provideMerge(WriteMode.layer),
      Layer.provide(WriterLeases.layerShared),
      Layer.provideMerge(Layer.mergeAll(Flusher.layer, UnflushedWrites.layer)),
      Layer.provide(FlushTargetMemory.layer),
      Layer.provideMerge(WriteBufferMemory.layerShared(Duration.toMillis(FLUSH_INTERVAL)))
    )
  )
).pipe(Layer.provide(RoomBusMemory.layerLog))

const DirectStores = Layer.merge(StoresMemory.layerShared, Flusher.layerNone)

const BufferedStores = Layer.mergeAll(DocumentStoreBuffered.layer, MessageStoreBuffered.layer).pipe(
  Layer.provideMerge(WriteBuffering),
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
