// The bus over Redis: one script numbers an event, adds it to the room's stream and publishes it, on the room's
// channel. An instance subscribes to the channels of the rooms that it has connections in. In a Cluster rooms share 64
// sharded channels, to all of which every instance subscribes.
import { Effect, Latch, Layer, Queue } from "effect"
import { Redis } from "effect/persistence"
import type { LoggedType, RoomChange } from "../../domain/RoomEvent.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { channelOf, partOf, roomKey, shards, streamKey } from "../../infra/redis/RoomKeys.ts"
import { type Common, makeCommon, own, prologue, publishLua } from "../../infra/redis/RoomLog.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { makeReceivedRooms } from "./ReceivedRooms.ts"
import {
  type BusEvent,
  type EphemeralEvent,
  fromRedis,
  maxQueued,
  maxSignals,
  maxTaken,
  queueDropped,
  RoomBus,
  type RoomSignal,
  type SequencedEvent,
  toHistory,
  type Versions
} from "./RoomBus.ts"

/** The arguments that all scripts begin with. */
const inRoom = (common: Common, roomId: string, epochCounter = 0) => [
  roomKey(roomId),
  streamKey(roomId),
  ...common(roomId, epochCounter)
]

// Returns the change number after which changes are missing, or -1.
const publish = (common: Common) =>
  Redis.script(
    (roomId: string, epochCounter: number, changes: ReadonlyArray<RoomChange>, force: boolean) => [
      ...inRoom(common, roomId, epochCounter),
      force ? 1 : 0,
      ...changes.flatMap(({ at, event, changeNumber, subject, type }) => [
        changeNumber,
        at,
        type,
        subject,
        partOf(type),
        event
      ])
    ],
    {
      numberOfKeys: 2,
      lua: `${prologue}
    open(true)
    local missing = -1
    for i = ${own + 2}, #ARGV, 6 do
      local changeNumber = tonumber(ARGV[i])
      if changeNumber > rev then
        if changeNumber ~= rev + 1 and ARGV[${own + 1}] == '0' then missing = rev break end
        append(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
        rev = changeNumber
      end
    end
    close()
    return missing`
    }
  ).withReturnType<number>()

const emit = (common: Common) =>
  Redis.script(
    (roomId: string, events: ReadonlyArray<EphemeralEvent>) => [
      ...inRoom(common, roomId),
      ...events.flatMap(({ at, event, subject, type }) => [at, type, subject, event])
    ],
    {
      numberOfKeys: 2,
      lua: `${prologue}
    open(true)
    for i = ${own + 1}, #ARGV, 4 do append(0, ARGV[i], ARGV[i + 1], ARGV[i + 2], 'none', ARGV[i + 3]) end
    close()
    return seq`
    }
  ).withReturnType<number>()

/** Reads the versions from the room's hash, after `open`. */
export const versionsLua = `
local function versions()
  local parts = redis.call('HMGET', KEYS[1], 'messages', 'threads', 'people')
  return {epoch, tonumber(parts[1] or 0), tonumber(parts[2] or 0), tonumber(parts[3] or 0)}
end
`
export type VersionsReply = readonly [epoch: string, messages: number, threads: number, people: number]
export const toVersions = ([epoch, messages, threads, people]: VersionsReply): Versions => {
  return { epoch, messages, threads, people }
}

const versions = (common: Common) =>
  Redis.script((roomId: string) => inRoom(common, roomId), {
    numberOfKeys: 2,
    lua: `${prologue}${versionsLua}
    if not open(false) then return false end
    return versions()`
  }).withReturnType<VersionsReply | null>()

/** What a signal's message begins with; an event's begins with its room's id. */
const signalMark = "~"

const signal = (common: Common) =>
  Redis.script(
    ({ connectionId, name, params, roomId }: RoomSignal) => [
      ...inRoom(common, roomId),
      // Last what may have line breaks.
      [`${signalMark}${roomId}`, connectionId, params, name].join("\n")
    ],
    { numberOfKeys: 2, lua: `redis.call(${publishLua}, ARGV[3], ARGV[${own + 1}])` }
  )

const parseSignal = (message: string): RoomSignal => {
  const [roomId = "", connectionId = "", params = "", ...name] = message.slice(signalMark.length).split("\n")
  return { roomId, connectionId, name: name.join("\n"), params }
}

type StreamEntry = readonly [id: string, fields: ReadonlyArray<string>]

const history = (common: Common) =>
  Redis.script(
    (roomId: string, epochCounter: number, after: number, limit: number) => [
      ...inRoom(common, roomId, epochCounter),
      after,
      limit
    ],
    {
      numberOfKeys: 2,
      lua: `${prologue}
    open(true)
    local limit, entries = tonumber(ARGV[${own + 2}]), {}
    if limit == 0 then entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1) else
      entries = redis.call('XRANGE', KEYS[2], (tonumber(ARGV[${own + 1}]) + 1) .. '-0', '+', 'COUNT', limit + 1)
    end
    return {epoch, seq, rev, entries}`
    }
  ).withReturnType<readonly [epoch: string, seq: number, changeNumber: number, entries: ReadonlyArray<StreamEntry>]>()

const fromEntry = ([
  id,
  [, changeNumber, , at = "", , type = "", , subject = "", , event = ""]
]: StreamEntry): SequencedEvent => ({
  seq: Number.parseInt(id, 10),
  changeNumber: Number(changeNumber),
  at,
  type: type as LoggedType,
  subject,
  event
})

const parse = (message: string): BusEvent | undefined => {
  const [roomId = "", epoch = "", seq, changeNumber, at = "", type, subject = "", event] = message.split("\n", 8)
  if (event === undefined) return undefined
  return {
    roomId,
    epoch,
    seq: Number(seq),
    changeNumber: Number(changeNumber),
    at,
    type: type as LoggedType,
    subject,
    event
  }
}

/** Takes the messages of all channels of a Cluster's nodes. */
const subscribeShards = Effect.fnUntraced(function* (
  redis: Redis.Redis["Service"],
  take: (message: Redis.RedisMessage) => void
) {
  const queues = yield* Effect.forEach(shards, (shard) => redis.subscribe(shard), { concurrency: "unbounded" })
  for (const queue of queues) {
    const forward = Effect.map(Queue.takeBetween(queue, 1, maxTaken), (taken) => {
      for (const message of taken) take(message)
    })
    yield* background("room shards", forward)
  }
})

export const layer = Layer.effect(
  RoomBus,
  Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const state = yield* RedisHealth
    const common = makeCommon(state)
    const publishScript = redis.eval(publish(common))
    const emitScript = redis.eval(emit(common))
    const historyScript = redis.eval(history(common))
    const versionsScript = redis.eval(versions(common))
    const signalScript = redis.eval(signal(common))
    const signals = yield* Queue.sliding<RoomSignal>(maxSignals)
    const messages = yield* Queue.unbounded<Redis.RedisMessage>()
    const listener = (message: Redis.RedisMessage) => {
      if (message.message.startsWith(signalMark)) Queue.offerUnsafe(signals, parseSignal(message.message))
      else Queue.offerUnsafe(messages, message)
    }
    /** In a Cluster. */
    const received = makeReceivedRooms()
    if (state.isCluster) {
      const start = ({ message }: Redis.RedisMessage) => (message.startsWith(signalMark) ? signalMark.length : 0)
      const roomOf = (one: Redis.RedisMessage) => one.message.slice(start(one), one.message.indexOf("\n"))
      yield* subscribeShards(redis, (message) => {
        if (received.has(roomOf(message))) listener(message)
      })
    }
    const { counter } = yield* Metrics
    const dropped = counter("room_bus_dropped_total", queueDropped)
    const gap = yield* Latch.make(false)
    yield* state.onResubscribed(() => gap.openUnsafe())

    // Checked with each batch of a thousand messages. Between two of them a socket is read for at most some 2 MB: the
    // queue can only grow with small messages, so bounding their number bounds their bytes.
    const dropQueued = Effect.map(Queue.clear(messages), (queued) => {
      dropped.add(queued.length)
      gap.openUnsafe()
    })

    return RoomBus.of({
      kind: "shared",
      publish: (roomId, epochCounter, changes, force) =>
        Effect.map(fromRedis(publishScript(roomId, epochCounter, changes, force)), (missing) => ({
          missingAfter: missing === -1 ? undefined : missing
        })),
      emit: (roomId, events) => fromRedis(emitScript(roomId, events)),
      signal: (one) => Effect.asVoid(fromRedis(signalScript(one))),
      takeSignals: Queue.takeBetween(signals, 1, maxTaken),
      history: (roomId, epochCounter, after, limit) =>
        Effect.map(
          fromRedis(historyScript(roomId, epochCounter, after, limit)),
          ([epoch, seq, changeNumber, entries]) =>
            toHistory({ epoch, seq, changeNumber }, entries.map(fromEntry), after, limit)
        ),
      versions: (roomId) =>
        Effect.map(fromRedis(versionsScript(roomId)), (found) => (found === null ? undefined : toVersions(found))),
      receive: (roomId) =>
        state.isCluster
          ? received.receive(roomId)
          : // Another function each time: one that listens twice is removed by its first end.
            state.listen(channelOf(roomId), (message) => listener(message)),
      take: Queue.takeBetween(messages, 1, maxTaken).pipe(
        Effect.tap(() => (Queue.sizeUnsafe(messages) > maxQueued ? dropQueued : Effect.void)),
        // The queue ends with the layer's scope only.
        Effect.orDie,
        Effect.map((taken) => taken.map(({ message }) => parse(message)).filter((event) => event !== undefined))
      ),
      gap: Effect.asVoid(Effect.andThen(gap.await, gap.close))
    })
  })
)
