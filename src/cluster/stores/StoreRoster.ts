// The instances that use a store, listed in the store itself: each sends a heartbeat every second, which returns the
// whole list. The port, and its layers over Redis and Postgres. An instance is listed until it leaves, or for
// a minute after its last heartbeat, by the store's own clock.
import { Effect, Option, Schema } from "effect"
import { Redis } from "effect/persistence"
import { Database } from "../../infra/postgres/Database.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"

/** The store did not answer in time. */
export class RosterUnavailable extends Schema.TaggedError<RosterUnavailable>()("RosterUnavailable", {
  cause: Schema.Defect()
}) {}

export const Heartbeat = Schema.Struct({
  /** Counts an instance's heartbeats. */
  beat: Schema.Finite,
  /** The last of them that the other store confirmed. */
  acked: Schema.Finite,
  /** Whether the other store confirmed the last one. */
  isUp: Schema.Boolean,
  /** The instance is set up without Redis, so there is no other store. */
  isAlone: Schema.Boolean,
  /** See SharedStores.ts. */
  state: Schema.Literals(["waiting", "active", "refused"]),
  /** Where its process runs, and which the other store is: for people. */
  place: Schema.String,
  label: Schema.String
})
export type Heartbeat = typeof Heartbeat.Type

export interface Listed extends Heartbeat {
  readonly instance: string
  /** When it was first listed, by the store's clock. No two instances have the same. */
  readonly since: number
  readonly ageMs: number
}

export interface StoreRoster {
  /** Returns all instances, including this one. */
  readonly heartbeat: (instance: string, entry: Heartbeat) => Effect.Effect<ReadonlyArray<Listed>, RosterUnavailable>
  readonly leave: (instance: string) => Effect.Effect<void, RosterUnavailable>
}

/** How long an instance is listed after its last heartbeat. */
export const listedMs = 60_000
/** How long Redis keeps the list after the last heartbeat of all. */
const retentionMs = 3_600_000

const Stored = Schema.fromJsonString(Heartbeat)
const encode = Schema.encodeSync(Stored)
const decode = Schema.decodeUnknownOption(Stored)

const unavailable = Effect.mapError((cause: unknown) => new RosterUnavailable({ cause }))

type Row = Pick<Listed, "instance" | "since" | "ageMs"> & { readonly entry: string }

/** An entry that can't be decoded was written by another release, and is left out. */
const toListed = (rows: ReadonlyArray<Row>): ReadonlyArray<Listed> =>
  rows.flatMap(({ entry, ...row }) =>
    Option.match(decode(entry), { onNone: () => [], onSome: (decoded) => [{ ...decoded, ...row }] })
  )

const key = "hotpath:stores"

// Works while Redis is full: its first line says so, from Redis 7 on. A value is `since renewed entry`. TIME has
// microseconds, and scripts run one at a time, so no two instances get the same `since`.
const heartbeat = Redis.script((instance: string, text: string) => [key, instance, text, listedMs, retentionMs], {
  numberOfKeys: 1,
  lua: `#!lua flags=allow-oom
    local time = redis.call('TIME')
    local now = time[1] * 1000 + time[2] / 1000
    local known = redis.call('HGET', KEYS[1], ARGV[1])
    local since = known and string.match(known, '^(%S+) ') or string.format('%.3f', now)
    redis.call('HSET', KEYS[1], ARGV[1], since .. ' ' .. string.format('%.3f', now) .. ' ' .. ARGV[2])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    local all, rows = redis.call('HGETALL', KEYS[1]), {}
    for i = 1, #all, 2 do
      local came, renewed, text = string.match(all[i + 1], '^(%S+) (%S+) (.*)$')
      if now - renewed > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i])
      else table.insert(rows, {all[i], came, string.format('%.0f', math.max(0, now - renewed)), text}) end
    end
    return rows`
}).withReturnType<ReadonlyArray<readonly [instance: string, since: string, ageMs: string, text: string]>>()

/** In Redis, in spite of the fence, which depends on what is found here. */
export const makeRedisRoster = Effect.gen(function* () {
  const state = yield* RedisHealth
  const redis = yield* Redis.make({
    send: state.unfenced,
    subscribe: () => Effect.never,
    connect: Effect.never
  })
  const heartbeatThere = redis.eval(heartbeat)
  const roster: StoreRoster = {
    heartbeat: (instance, entry) =>
      heartbeatThere(instance, encode(entry)).pipe(
        Effect.map((rows) =>
          toListed(
            rows.map(([name, since, ageMs, text]) => ({
              instance: name,
              since: Number(since),
              ageMs: Number(ageMs),
              entry: text
            }))
          )
        ),
        unavailable
      ),
    leave: (instance) => Effect.asVoid(unavailable(state.unfenced("HDEL", key, instance)))
  }
  return roster
})

/** In Postgres: see infra/postgres/migrations/0010_service_instances.ts. */
export const makeDatabaseRoster = Effect.gen(function* () {
  const { run, sql } = yield* Database
  const roster: StoreRoster = {
    heartbeat: (instance, entry) =>
      run(
        sql<Row>`SELECT instance, since, age_ms AS "ageMs", entry
          FROM hotpath_announce(${instance}, ${encode(entry)}, ${String(listedMs)}::text::float8)`
      ).pipe(Effect.map(toListed), unavailable),
    leave: (instance) =>
      Effect.asVoid(unavailable(run(sql`DELETE FROM service_instances WHERE instance = ${instance}`)))
  }
  return roster
})
