// Every port of an instance, in memory.
import { Effect, Layer, type Schema, Stream } from "effect"
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
import { Database } from "../infra/postgres/Database.ts"
import { RedisHealth } from "../infra/redis/RedisHealth.ts"
import { Flusher } from "../storage/buffer/Flusher.ts"
import { DeadLetters } from "../storage/DeadLetters.ts"
import { RecordStore } from "../storage/records/RecordStore.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { RecordWriter } from "../storage/records/RecordWriter.ts"
import * as StoresMemory from "../storage/rooms/memory/StoresMemory.ts"
import * as UpstreamLayer from "./Upstream.ts"

export interface Content {
  /** The catalog: definitions by name, as the admin API takes them. */
  readonly integrations?: Readonly<Record<string, unknown>>
  /** Configurations by user. */
  readonly users?: Readonly<Record<string, Readonly<Record<string, Schema.Json>>>>
}

const NoDatabase = Layer.mock(Database, {
  kind: "embedded",
  health: () => ({ state: "up" as const }),
  subscribe: () => Stream.never,
  migrated: Effect.void,
  sql: Object.assign(() => Effect.never, { literal: () => undefined }) as never
})

const Ports = Layer.mergeAll(
  CatalogRedis.layerNone,
  Layer.provideMerge(
    RecordWriter.layer,
    Layer.mergeAll(RecordStream.layerNone, RecordStore.layerMemory, DeadLetters.layerMemory)
  ),
  StoresMemory.layer,
  Flusher.layerNone,
  Presence.layerMemory,
  MembershipCache.layerMemory,
  Locks.layerMemory,
  RateLimits.layerMemory,
  UserLimits.layerMemory,
  SharedCache.layerMemory
).pipe(
  Layer.provideMerge(RoomBusMemory.layerAlone),
  Layer.provideMerge(Layer.mergeAll(RedisHealth.layerNone, SharedStores.layerAlone, NoDatabase))
)

export const memoryPorts = (content: Content, upstream: UpstreamLayer.Upstream | undefined) =>
  Layer.mergeAll(
    Ports,
    CatalogStore.layerMemory(content),
    UpstreamLayer.layer(upstream),
    EgressPolicy.layer.pipe(Layer.provideMerge(LocalHosts.layer))
  )
