// Rooms: created, read, listed, left and deleted; and the removal of members by owners.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { actorNow } from "../domain/Actor.ts"
import type { RateLimited } from "../domain/Overload.ts"
import { Forbidden, type Room, type RoomNotFound, type RoomSettings, type StorageUnavailable } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { Settings } from "../Settings.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { MemberStore } from "../storage/rooms/MemberStore.ts"
import { RoomStore } from "../storage/rooms/RoomStore.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import { type ListParams, listed, type Reply, toQuery } from "./Listing.ts"

export class Rooms extends Context.Service<
  Rooms,
  {
    /** The user becomes its owner and first member. */
    readonly create: (
      user: string,
      title: string,
      autoAssign: boolean
    ) => Effect.Effect<Room, StorageUnavailable | RateLimited>
    readonly get: (user: string, roomId: string) => Effect.Effect<Room, AccessError>
    /** Newest first. */
    readonly list: (user: string, params: ListParams) => Effect.Effect<Reply<"rooms.list">, StorageUnavailable>
    /** By an owner. */
    readonly update: (user: string, roomId: string, change: RoomSettings) => Effect.Effect<Room, WriteRefused>
    readonly delete: (user: string, roomId: string) => Effect.Effect<void, WriteRefused>
    /** Ends the caller's membership. The room's maker stays its member: only the connection leaves. */
    readonly leave: (user: string, roomId: string, connectionId: string) => Effect.Effect<void, WriteRefused>
    readonly remove: (user: string, roomId: string, other: string) => Effect.Effect<void, WriteRefused>
  }
>()("hotpath/rooms/Rooms") {
  static readonly layer = Layer.effect(
    Rooms,
    Effect.gen(function* () {
      const access = yield* Access
      const hub = yield* Hub
      const limits = yield* RateLimits
      const { USER_ROOMS_PER_DAY } = yield* Settings
      const perDay = { name: "rooms", limit: USER_ROOMS_PER_DAY, window: "1 day" } as const
      const relay = yield* OutboxRelay
      const members = relay.publishing(yield* MemberStore, MemberStore.writes)
      const rooms = relay.publishing(yield* RoomStore, RoomStore.writes)

      const room = (roomId: string): Effect.Effect<Room, RoomNotFound | StorageUnavailable> =>
        Effect.map(rooms.get(roomId), (snapshot) => snapshot.room)

      return Rooms.of({
        create: Effect.fn("Rooms.create")(function* (user, title, autoAssign) {
          yield* limits.consume(`rooms:${user}`, perDay)
          const made = { roomId: SecureRandom.uuidV4Unsafe(), title, owner: user, autoAssign, createdAt: yield* now }
          yield* rooms.create(made)
          return made
        }),
        get: (user, roomId) => Effect.andThen(access.member(roomId, user), room(roomId)),
        list: (user, params) =>
          Effect.map(rooms.list(user, toQuery(params)), (found) =>
            listed("rooms.list", found, params, ({ createdAt, roomId }) => [createdAt, roomId])
          ),
        update: Effect.fn("Rooms.update")(function* (user, roomId, change) {
          yield* access.require(roomId, user, "owner")
          return yield* hub.replyFirst(roomId, rooms.update(roomId, change, yield* actorNow(user)))
        }),
        delete: Effect.fn("Rooms.delete")(function* (user, roomId) {
          yield* access.require(roomId, user, "owner")
          yield* hub.replyFirst(roomId, rooms.delete(roomId, yield* actorNow(user)))
        }),
        leave: Effect.fn("Rooms.leave")(function* (user, roomId, connectionId) {
          yield* access.member(roomId, user)
          const { owner } = yield* room(roomId)
          if (owner !== user) yield* hub.replyFirst(roomId, members.remove(roomId, user, yield* actorNow(user)))
          hub.leave(roomId, connectionId)
        }),
        remove: Effect.fn("Rooms.remove")(function* (user, roomId, other) {
          yield* access.require(roomId, user, "owner")
          if (other === user) return yield* new Forbidden({ needs: "rooms.leave, to remove oneself" })
          yield* hub.replyFirst(roomId, members.remove(roomId, other, yield* actorNow(user)))
        })
      })
    })
  )
}
