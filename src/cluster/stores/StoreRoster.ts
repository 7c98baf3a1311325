// The instances that use a store, as they say in that store itself: each announces itself every second, and reads who else
// did. One port; Redis, Postgres and memory stand behind it. An instance is listed until it leaves, or for a minute after
// its last announcement; how old that is goes by the store's own clock.
import { Clock, Effect, Option, Schema } from "effect"
import { Redis } from "effect/persistence"
import { Database } from "../../infra/postgres/Database.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"

/** The store did not answer in time. */
export class RosterUnavailable extends Schema.TaggedError<RosterUnavailable>()("RosterUnavailable", {
  cause: Schema.Defect()
}) {}

export const Announcement = Schema.Struct({
  /** Counts its announcements. */
  beat: Schema.Finite,
  /** The last of them that the other store took. */
  acked: Schema.Finite,
  /** Whether the other store took the last one. */
  isUp: Schema.Boolean,
  /** It has no other store, because it is set up without Redis. */
  isAlone: Schema.Boolean,
  /** `waiting`: it compares its stores. `refused`: they are not those of the others, and it leaves rooms alone. */
  state: Schema.Literals(["waiting", "active", "refused"]),
  /** Where its process is, and which the other store is: for people. */
  place: Schema.String,
  label: Schema.String
})
export type Announcement = typeof Announcement.Type

export interface Listed extends Announcement {
  readonly instance: string
  /** When it came, by the store's clock; nobody else came at the same time. */
  readonly since: number
  readonly ageMs: number
}

export interface StoreRoster {
  /** Announces an instance, and returns all, itself too. */
  readonly announce: (instance: string, entry: Announcement) => Effect.Effect<ReadonlyArray<Listed>, RosterUnavailable>
  readonly leave: (instance: string) => Effect.Effect<void, RosterUnavailable>
}

/** How long an instance is listed after its last announcement. */
const listedMs = 60_000
/** How long the list itself outlives the last announcement in Redis. */
const keptMs = 3_600_000

const Stored = Schema.fromJsonString(Announcement)
const encode = Schema.encodeSync(Stored)
const decode = Schema.decodeUnknownOption(Stored)

const unavailable = Effect.mapError((cause: unknown) => new RosterUnavailable({ cause }))

type Row = readonly [instance: string, since: number, ageMs: number, text: string]

/** What can't be read was written by another release, which says nothing about its stores. */
const toListed = (rows: ReadonlyArray<Row>): ReadonlyArray<Listed> =>
  rows.flatMap(([instance, since, ageMs, text]) =>
    Option.match(decode(text), { onNone: () => [], onSome: (entry) => [{ ...entry, instance, since, ageMs }] })
  )

const key = "hotpath:stores"

// Goes on when Redis is full: from Redis 7 on, the first line says so. A value is `since renewed entry`. TIME comes in microseconds; no two scripts run at the same time.
const announce = Redis.script((instance: string, text: string) => [key, instance, text, listedMs, keptMs], {
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

/** In Redis. It passes the fence, which is about what is found here. */
export const makeRedisRoster = Effect.gen(function* () {
  const state = yield* RedisHealth
  const redis = yield* Redis.make({
    send: state.unfenced,
    subscribe: () => Effect.never,
    connect: Effect.never
  })
  const announceThere = redis.eval(announce)
  const roster: StoreRoster = {
    announce: (instance, entry) =>
      announceThere(instance, encode(entry)).pipe(
        Effect.map((rows) =>
          toListed(rows.map(([own, since, ageMs, text]) => [own, Number(since), Number(ageMs), text]))
        ),
        unavailable
      ),
    leave: (instance) => Effect.asVoid(unavailable(state.unfenced("HDEL", key, instance)))
  }
  return roster
})

/** In Postgres: see infra/migrations/0010_service_instances.ts. */
export const makeDatabaseRoster = Effect.gen(function* () {
  const { run, sql } = yield* Database
  const roster: StoreRoster = {
    announce: (instance, entry) =>
      run(
        sql<{
          instance: string
          since: number
          ageMs: number
          entry: string
        }>`SELECT instance, since, age_ms AS "ageMs", entry
          FROM hotpath_announce(${instance}, ${encode(entry)}, ${String(listedMs)}::text::float8)`
      ).pipe(
        Effect.map((rows) => toListed(rows.map((row) => [row.instance, row.since, row.ageMs, row.entry]))),
        unavailable
      ),
    leave: (instance) =>
      Effect.asVoid(unavailable(run(sql`DELETE FROM service_instances WHERE instance = ${instance}`)))
  }
  return roster
})

interface Kept {
  readonly since: number
  readonly renewed: number
  readonly entry: Announcement
}

export interface MemoryRoster extends StoreRoster {
  /** Loses all of it. */
  readonly clear: () => void
  /** Another one, with what this one holds now. */
  readonly copy: () => MemoryRoster
}

/** Within the process, for tests. */
export const makeMemoryRoster = (from: Iterable<readonly [string, Kept]> = []): MemoryRoster => {
  const entries = new Map(from)
  let last = 0
  const roster: StoreRoster = {
    announce: (instance, entry) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const since = entries.get(instance)?.since ?? Math.max(now, last + 1)
        last = Math.max(last, since)
        entries.set(instance, { since, renewed: now, entry })
        for (const [name, { renewed }] of entries) if (now - renewed > listedMs) entries.delete(name)
        return [...entries].map(([name, known]) => ({
          ...known.entry,
          instance: name,
          since: known.since,
          ageMs: now - known.renewed
        }))
      }),
    leave: (instance) => Effect.sync(() => void entries.delete(instance))
  }
  return { ...roster, clear: () => entries.clear(), copy: () => makeMemoryRoster(entries) }
}
