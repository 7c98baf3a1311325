// Who is a member of a room, and with which role, in a cache that all instances share. An entry lives for five
// minutes after it was last read, and is valid only while no member joined or left the room since it was read from
// Postgres: the room's `people` version says so. So an entry that is found is never older than the last membership
// change that was published.
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { Redis } from "effect/persistence"
import { Role } from "../../domain/Room.ts"
import { type BoundedMap, makeBoundedMap } from "../../infra/BoundedMap.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { roomKey, sessionKey, streamKey } from "../../infra/redis/RoomKeys.ts"
import { type Common, makeCommon, own, prologue } from "../../infra/redis/RoomLog.ts"
import { type BusUnavailable, fromRedis, type Versions } from "./RoomBus.ts"
import { toVersions, type VersionsReply, versionsLua } from "./RoomBusRedis.ts"
import { RoomBusState } from "./RoomBusState.ts"

export const Membership = Schema.Struct({ role: Role, joinedAt: Schema.String })
export type Membership = typeof Membership.Type

export interface CachedMembership {
  /** Undefined: the bus does not know the room. */
  readonly versions: Versions | undefined
  /** Undefined: not in the cache, or not valid any more. */
  readonly membership: Membership | undefined
}

export const membershipMs = 300_000

const StoredMembership = Schema.Struct({ ...Membership.fields, epoch: Schema.String, people: Schema.Finite })
const decodeStored = Schema.decodeUnknownOption(Schema.fromJsonString(StoredMembership))

const isSame = (a?: Versions, b?: Versions) => a?.epoch === b?.epoch && a?.people === b?.people

/** Entries that memory has; the least recently used are dropped. */
const maxEntries = 50_000

interface MemoryEntry extends CachedMembership {
  until: number
}

/** The entries of the instances that share them in memory. `clear` loses them. */
export class MembershipCacheState extends Context.Service<MembershipCacheState, BoundedMap<MemoryEntry>>()(
  "hotpath/cluster/rooms/MembershipCacheState"
) {
  static readonly layer = Layer.sync(MembershipCacheState, () => makeBoundedMap<MemoryEntry>(maxEntries))
}

/** The arguments that both scripts begin with. */
const inRoom = (common: Common, roomId: string, user: string) => [
  roomKey(roomId),
  streamKey(roomId),
  sessionKey(roomId, user),
  ...common(roomId, 0),
  membershipMs
]

const read = (common: Common) =>
  Redis.script((roomId: string, user: string) => inRoom(common, roomId, user), {
    numberOfKeys: 3,
    lua: `${prologue}${versionsLua}
    if not open(false) then return false end
    return {versions(), redis.call('GETEX', KEYS[3], 'PX', ARGV[${own + 1}])}`
  }).withReturnType<readonly [VersionsReply, string | null] | null>()

// A room that the bus did not know before must still be unknown; it is opened, so that the entry has an epoch to be
// valid in.
const write = (common: Common) =>
  Redis.script(
    (roomId: string, user: string, text: string, versions: Versions | undefined) => [
      ...inRoom(common, roomId, user),
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
    readonly read: (roomId: string, user: string) => Effect.Effect<CachedMembership, BusUnavailable>
    /** `versions`: before the membership was read from Postgres. If they have changed, nothing is written. */
    readonly write: (
      roomId: string,
      user: string,
      membership: Membership,
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
        // Untraced: every request that names a room comes by here, and the command has a span.
        read: Effect.fnUntraced(function* (roomId, user) {
          const reply = yield* readScript(roomId, user)
          if (reply === null) return { versions: undefined, membership: undefined }
          const versions = toVersions(reply[0])
          // An entry that does not decode was written by another release; the next write replaces it.
          const entry = reply[1] === null ? undefined : Option.getOrUndefined(decodeStored(reply[1]))
          const isValid = entry?.epoch === versions.epoch && entry.people === versions.people
          return { versions, membership: isValid ? { role: entry.role, joinedAt: entry.joinedAt } : undefined }
        }, fromRedis),
        write: (roomId, user, membership, versions) =>
          Effect.asVoid(fromRedis(writeScript(roomId, user, JSON.stringify(membership), versions)))
      })
    })
  )

  /** In memory, shared by the instances over one state, and over one bus's. Each operation is one step. */
  static readonly layerShared = Layer.effect(
    MembershipCache,
    Effect.gen(function* () {
      const bus = yield* RoomBusState
      const entries = yield* MembershipCacheState
      return MembershipCache.of({
        read: (roomId, user) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const versions = bus.versions(roomId)
            const entry = entries.get(sessionKey(roomId, user))
            if (entry === undefined || entry.until <= now || !isSame(entry.versions, versions))
              return { versions, membership: undefined }
            entry.until = now + membershipMs
            return { versions, membership: entry.membership }
          }),
        write: (roomId, user, membership, before) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            if (!isSame(bus.versions(roomId), before)) return
            // Makes the room known, so that the entry has an epoch to be valid in.
            if (before === undefined) bus.open(roomId, 0)
            const versions = bus.versions(roomId)
            entries.set(sessionKey(roomId, user), { membership, versions, until: now + membershipMs })
          })
      })
    })
  )

  /** In memory, of one instance. */
  static readonly layerMemory = MembershipCache.layerShared.pipe(Layer.provide(MembershipCacheState.layer))
}
