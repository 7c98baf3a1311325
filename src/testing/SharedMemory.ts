// What the instances of a test share, in memory: in operation it is in Postgres and in Redis.
import { Layer } from "effect"
import { CatalogRedisState } from "../catalog/CatalogRedis.ts"
import { type CatalogContent, CatalogStoreState } from "../catalog/CatalogStoreState.ts"
import { RateLimitState } from "../cluster/limits/RateLimitState.ts"
import { LockState } from "../cluster/locks/LockCommands.ts"
import { MembershipCacheState } from "../cluster/rooms/MembershipCache.ts"
import { PresenceState } from "../cluster/rooms/PresenceMemory.ts"
import { RoomBusState } from "../cluster/rooms/RoomBusState.ts"
import { SharedCacheState } from "../cluster/SharedCache.ts"
import { WriteBufferState } from "../storage/buffer/memory/WriteBufferState.ts"
import { WriterLeasesState } from "../storage/buffer/memory/WriterLeasesState.ts"
import { DeadLettersState } from "../storage/DeadLetters.ts"
import { LockFencesState } from "../storage/LockFences.ts"
import { RecordStreamState } from "../storage/records/RecordLogMemory.ts"
import { RecordStoreState } from "../storage/records/RecordStore.ts"
import { MemoryRooms } from "../storage/rooms/memory/MemoryRooms.ts"
import { UnpublishedNoticesState } from "../storage/rooms/UnpublishedNotices.ts"

const InPostgres = Layer.mergeAll(
  DeadLettersState.layer,
  LockFencesState.layer,
  MemoryRooms.layer,
  RecordStoreState.layer,
  UnpublishedNoticesState.layer,
  WriterLeasesState.layer
)

const InRedis = Layer.mergeAll(
  CatalogRedisState.layer,
  LockState.layer,
  MembershipCacheState.layer,
  PresenceState.layer,
  RateLimitState.layer,
  RecordStreamState.layer,
  RoomBusState.layer,
  SharedCacheState.layer,
  WriteBufferState.layer
)

export const sharedMemory = (content: CatalogContent) =>
  Layer.mergeAll(InPostgres, InRedis, CatalogStoreState.layerWith(content))

export type SharedMemory = Layer.Success<ReturnType<typeof sharedMemory>>
