// Every port of an instance, over the memory that instances share.
import { Layer } from "effect"
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
import { Flusher } from "../storage/buffer/Flusher.ts"
import { DeadLetters } from "../storage/DeadLetters.ts"
import * as RecordDrain from "../storage/records/RecordDrain.ts"
import { RecordStore } from "../storage/records/RecordStore.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { RecordWriter } from "../storage/records/RecordWriter.ts"
import * as StoresMemory from "../storage/rooms/memory/StoresMemory.ts"
import { UnpublishedNotices } from "../storage/rooms/UnpublishedNotices.ts"

const Records = RecordDrain.layer.pipe(
  Layer.provideMerge(RecordWriter.layer),
  Layer.provideMerge(Layer.mergeAll(RecordStore.layerShared, RecordStream.layerShared, DeadLetters.layerShared))
)

export const MemoryPorts = Layer.mergeAll(
  CatalogRedis.layerShared,
  CatalogStore.layerShared,
  Records,
  StoresMemory.layerShared,
  UnpublishedNotices.layerShared,
  Flusher.layerNone,
  Presence.layerMemory,
  MembershipCache.layerMemory,
  Locks.layerMemory,
  RateLimits.layerMemory,
  UserLimits.layerMemory,
  SharedCache.layerMemory
).pipe(
  Layer.provideMerge(RoomBusMemory.layerShared),
  Layer.provideMerge(Layer.mergeAll(DatabaseHealth.layerMemory, RedisHealth.layerNone, SharedStores.layerAlone)),
  Layer.provideMerge(Layer.provideMerge(EgressPolicy.layer, LocalHosts.layer))
)
