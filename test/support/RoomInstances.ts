// What instances share of rooms, as each of them has it: in memory (one instance), or over a Redis (as many as wanted, each
// with a connection of its own).
import { randomUUID } from "node:crypto"
import { assert } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { MembershipCache, MembershipCacheState } from "../../src/cluster/rooms/MembershipCache.ts"
import { Presence } from "../../src/cluster/rooms/Presence.ts"
import { PresenceState } from "../../src/cluster/rooms/PresenceMemory.ts"
import { type BusEvent, RoomBus } from "../../src/cluster/rooms/RoomBus.ts"
import * as RoomBusMemory from "../../src/cluster/rooms/RoomBusMemory.ts"
import * as RoomBusRedis from "../../src/cluster/rooms/RoomBusRedis.ts"
import { RoomBusState } from "../../src/cluster/rooms/RoomBusState.ts"
import type { RoomChange, RoomEvent } from "../../src/domain/RoomEvent.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { overRedis } from "./OverRedis.ts"
import { patienceMs } from "./Patience.ts"
import { startRedisCluster } from "./RedisKinds.ts"
import { type RunningServer, startRedis } from "./Servers.ts"
import { untilEffect } from "./UntilEffect.ts"

/** Tests wait for it where Redis does not answer; elsewhere a busy machine has to answer within it. */
export const commandTimeout = 5000

export interface Instance {
  readonly bus: RoomBus["Service"]
  readonly presence: Presence["Service"]
  readonly memberships: MembershipCache["Service"]
}

const of = (context: Context.Context<RoomBus | Presence | MembershipCache>): Instance => ({
  bus: Context.get(context, RoomBus),
  presence: Context.get(context, Presence),
  memberships: Context.get(context, MembershipCache)
})

const memoryWith = (bus: typeof RoomBusMemory.layer) =>
  Effect.map(
    Layer.build(
      Layer.fresh(
        Layer.mergeAll(Presence.layerMemory, MembershipCache.layerMemory).pipe(
          Layer.provideMerge(bus),
          Layer.provide(Metrics.layer)
        )
      )
    ),
    of
  )
export const memoryInstance = memoryWith(RoomBusMemory.layer)
export const boundedInstance = (maxBytes: number) => memoryWith(RoomBusMemory.layerWith({ maxBytes }))

/** What instances share in memory, and a build of an instance over it, until its scope is closed. */
export const sharedMemory = Effect.gen(function* () {
  const state = yield* Layer.build(
    Layer.fresh(Layer.mergeAll(RoomBusState.layer, PresenceState.layer, MembershipCacheState.layer))
  )
  const instance = Effect.map(
    Layer.build(
      Layer.fresh(
        Layer.mergeAll(Presence.layerShared, MembershipCache.layerShared).pipe(
          Layer.provideMerge(RoomBusMemory.layerShared),
          Layer.provide(Metrics.layer)
        )
      ).pipe(Layer.provide(Layer.succeedContext(state)))
    ),
    of
  )
  return {
    instance,
    bus: Context.get(state, RoomBusState),
    presence: Context.get(state, PresenceState),
    memberships: Context.get(state, MembershipCacheState)
  }
})

/** Until its scope is closed. */
export const redisInstance = Effect.fnUntraced(function* (url: string) {
  const layer = Layer.mergeAll(RoomBusRedis.layer, Presence.layer, MembershipCache.layer).pipe(
    Layer.provide(Metrics.layer)
  )
  const { check, context, redis } = yield* overRedis(layer, url, commandTimeout)
  const instance = { ...of(context), redis, check }
  yield* untilEffect(subscribed(instance))
  return instance
})
export type RedisInstance = Effect.Success<ReturnType<typeof redisInstance>>

/** Succeeds when its subscription receives what is published now; takes what came before. */
const subscribed = ({ bus }: Instance) =>
  Effect.gen(function* () {
    const roomId = randomUUID()
    yield* bus.receive(roomId)
    yield* bus.emit(roomId, [{ at: "", type: "generate.delta", subject: "", event: "{}" }])
    yield* untilReceived(bus, roomId).pipe(Effect.timeout("200 millis"))
  }).pipe(Effect.scoped)
const untilReceived = (bus: Instance["bus"], roomId: string): Effect.Effect<void> =>
  Effect.flatMap(bus.take, (events) =>
    events.some((event) => event.roomId === roomId) ? Effect.void : untilReceived(bus, roomId)
  )

export const redisServer = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(args)),
    ({ stop }) => Effect.promise(stop)
  )

/** The kinds that every suite runs over. */
export const kinds: Record<string, (() => Promise<RunningServer>) | undefined> = {
  memory: undefined,
  Redis: startRedis,
  "Redis Cluster": startRedisCluster
}

/** And the kinds of what several instances share. */
export const roomKinds: typeof kinds = { "shared memory": undefined, ...kinds }

/** One instance of a kind of `roomKinds`. */
export const instanceOf = (kind: string, server: RunningServer | undefined) =>
  Effect.suspend((): Effect.Effect<Instance, unknown, Scope.Scope> => {
    if (kind === "shared memory") return Effect.flatMap(sharedMemory, ({ instance }) => instance)
    return server === undefined ? memoryInstance : redisInstance(server.url)
  })

/** What the bus brings of one room, that many. */
export const received = Effect.fnUntraced(function* (bus: Instance["bus"], roomId: string, count: number) {
  const found: Array<BusEvent> = []
  yield* Effect.gen(function* () {
    while (found.length < count) found.push(...(yield* bus.take).filter((event) => event.roomId === roomId))
  }).pipe(Effect.timeoutOption(patienceMs))
  assert.lengthOf(found, count)
  return found
})

export const time = "2025-06-15T15:06:40.123Z"

export const passing = (type: RoomEvent["type"], subject = "", more: object = {}) => ({
  at: time,
  type,
  subject,
  event: JSON.stringify({ type, ...more })
})

export const change = (
  roomId: string,
  changeNumber: number,
  type: RoomEvent["type"] = "message.sent",
  subject = ""
): RoomChange => ({ roomId, changeNumber, epochCounter: 0, ...passing(type, subject, { changeNumber }) })

export const changesOf = (roomId: string, ...changeNumbers: ReadonlyArray<number>) =>
  changeNumbers.map((changeNumber) => change(roomId, changeNumber))
