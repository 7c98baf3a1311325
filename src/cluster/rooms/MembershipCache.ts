// Who is what in a room, as all instances share it: kept for five minutes after it was last asked for, and good only as long
// as nobody came or went since it was read from the repository (the room's version says so). A session that is found is
// never older than the last membership change that anybody was told of.
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { Redis } from "effect/persistence"
import { Role } from "../../domain/Room.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { roomKey, sessionKey, streamKey } from "../../infra/redis/RoomKeys.ts"
import { type Common, makeCommon, own, prologue } from "../../infra/redis/RoomLog.ts"
import { type BusUnavailable, fromRedis, RoomBus, type Versions } from "./RoomBus.ts"
import { toVersions, type VersionsReply, versionsLua } from "./RoomBusRedis.ts"

export const Session = Schema.Struct({ role: Role, joinedAt: Schema.String })
export type Session = typeof Session.Type

export interface Found {
  /** Undefined: nothing is known of the room. */
  readonly versions: Versions | undefined
  readonly session: Session | undefined
}

export const sessionMs = 300_000

const Stored = Schema.fromJsonString(Schema.Struct({ ...Session.fields, epoch: Schema.String, people: Schema.Finite }))
const decodeStored = Schema.decodeUnknownOption(Stored)

const read = (common: Common) =>
  Redis.script(
    (roomId: string, user: string) => [
      roomKey(roomId),
      streamKey(roomId),
      sessionKey(roomId, user),
      ...common(roomId, 0),
      sessionMs
    ],
    {
      numberOfKeys: 3,
      lua: `${prologue}${versionsLua}
    if not open(false) then return false end
    return {versions(), redis.call('GETEX', KEYS[3], 'PX', ARGV[${own + 1}])}`
    }
  ).withReturnType<readonly [VersionsReply, string | null] | null>()

// What was read from the repository is kept only if the room still is as it was before that; for a room that nothing was
// known of: if that is still so.
const write = (common: Common) =>
  Redis.script(
    (roomId: string, user: string, text: string, versions: Versions | undefined) => [
      roomKey(roomId),
      streamKey(roomId),
      sessionKey(roomId, user),
      ...common(roomId, 0),
      sessionMs,
      versions?.epoch ?? "",
      versions?.people ?? 0,
      text
    ],
    {
      numberOfKeys: 3,
      lua: `${prologue}
    local wanted = ARGV[${own + 2}]
    local there = open(false)
    if wanted == '' and there then return end
    if wanted == '' then open(true) end
    local people = tonumber(redis.call('HGET', KEYS[1], 'people') or 0)
    if wanted ~= '' and (not there or epoch ~= wanted or people ~= tonumber(ARGV[${own + 3}])) then return end
    local text = '{"epoch":"' .. epoch .. '","people":' .. people .. ',' .. string.sub(ARGV[${own + 4}], 2)
    redis.call('SET', KEYS[3], text, 'PX', ARGV[${own + 1}])`
    }
  )

export class MembershipCache extends Context.Service<
  MembershipCache,
  {
    readonly read: (roomId: string, user: string) => Effect.Effect<Found, BusUnavailable>
    /** `versions`: as they were before the session was read from the repository. */
    readonly write: (
      roomId: string,
      user: string,
      session: Session,
      versions: Versions | undefined
    ) => Effect.Effect<void, BusUnavailable>
  }
>()("hotpath/cluster/rooms/MembershipCache") {
  static readonly layer = Layer.effect(
    MembershipCache,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const common = makeCommon(yield* RedisHealth)
      const readScript = redis.eval(read(common))
      const writeScript = redis.eval(write(common))
      return MembershipCache.of({
        read: Effect.fnUntraced(function* (roomId, user) {
          const found = yield* readScript(roomId, user)
          if (found === null) return { versions: undefined, session: undefined }
          const versions = toVersions(found[0])
          if (found[1] === null) return { versions, session: undefined }
          // What can't be read (another release wrote it) is none: the next write replaces it.
          const stored = Option.getOrUndefined(decodeStored(found[1]))
          if (stored?.epoch !== versions.epoch || stored.people !== versions.people) {
            return { versions, session: undefined }
          }
          return { versions, session: { role: stored.role, joinedAt: stored.joinedAt } }
        }, fromRedis),
        write: (roomId, user, session, versions) =>
          Effect.asVoid(fromRedis(writeScript(roomId, user, JSON.stringify(session), versions)))
      })
    })
  )

  static readonly layerMemory = Layer.effect(
    MembershipCache,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const capacity = 50_000
      const kept = new Map<string, { session: Session; versions: Versions | undefined; until: number }>()
      const isSame = (a: Versions | undefined, b: Versions | undefined) =>
        a?.epoch === b?.epoch && a?.people === b?.people
      return MembershipCache.of({
        read: Effect.fnUntraced(function* (roomId, user) {
          const versions = yield* bus.versions(roomId)
          const key = sessionKey(roomId, user)
          const found = kept.get(key)
          const now = yield* Clock.currentTimeMillis
          if (found === undefined) return { versions, session: undefined }
          kept.delete(key)
          if (found.until <= now || !isSame(found.versions, versions)) return { versions, session: undefined }
          kept.set(key, { ...found, until: now + sessionMs })
          return { versions, session: found.session }
        }),
        write: Effect.fnUntraced(function* (roomId, user, session, versions) {
          if (!isSame(yield* bus.versions(roomId), versions)) return
          // From now on the bus knows the room: an epoch that is its own says whether it changed.
          if (versions === undefined) yield* bus.history(roomId, 0, 0, 0)
          const now = versions ?? (yield* bus.versions(roomId))
          kept.set(sessionKey(roomId, user), {
            session,
            versions: now,
            until: (yield* Clock.currentTimeMillis) + sessionMs
          })
          const [oldest] = kept.keys()
          if (kept.size > capacity && oldest !== undefined) kept.delete(oldest)
        })
      })
    })
  )
}
