// Rooms as such: made, looked at, left, ended; and whom their owners remove.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { actorNow } from "../domain/Actor.ts"
import type { RateLimited } from "../domain/Overload.ts"
import { everyone, Forbidden, owners, type Room, type RoomNotFound, type StorageUnavailable } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import type { Result } from "../protocol/methods/Methods.ts"
import { Settings } from "../Settings.ts"
import { Repository, type WriteRefused } from "../storage/rooms/Repository.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import { type ListParams, listed, toQuery } from "./Listing.ts"

export class Rooms extends Context.Service<
  Rooms,
  {
    /** Its maker is its owner, and a member. */
    readonly create: (
      user: string,
      title: string,
      autoAssign: boolean
    ) => Effect.Effect<Room, StorageUnavailable | RateLimited>
    readonly get: (user: string, roomId: string) => Effect.Effect<Room, AccessError | Forbidden>
    /** `{rooms, more, next}`, newest first. */
    readonly list: (
      user: string,
      params: ListParams
    ) => Effect.Effect<EncodedJson<Result<"rooms.list">>, StorageUnavailable>
    readonly delete: (user: string, roomId: string) => Effect.Effect<void, WriteRefused>
    /** Ends the caller's membership. Its maker can't give a room up: for them only this connection leaves. */
    readonly leave: (user: string, roomId: string, connectionId: string) => Effect.Effect<void, WriteRefused>
    readonly remove: (user: string, roomId: string, other: string) => Effect.Effect<void, WriteRefused>
  }
>()("hotpath/rooms/Rooms") {
  static readonly layer = Layer.effect(
    Rooms,
    Effect.gen(function* () {
      const repository = yield* Repository
      const access = yield* Access
      const hub = yield* Hub
      const limits = yield* RateLimits
      const { USER_ROOMS_PER_DAY } = yield* Settings
      const perDay = { name: "rooms", limit: USER_ROOMS_PER_DAY, window: "1 day" } as const
      const { announced } = yield* OutboxRelay

      const room = (roomId: string): Effect.Effect<Room, RoomNotFound | StorageUnavailable> =>
        Effect.map(repository.room(roomId), (snapshot) => snapshot.room)

      return Rooms.of({
        create: Effect.fn("Rooms.create")(function* (user, title, autoAssign) {
          yield* limits.consume(`rooms:${user}`, perDay)
          const made = {
            roomId: SecureRandom.uuidV4Unsafe(),
            title,
            owner: user,
            autoAssign,
            createdAt: yield* now
          }
          yield* repository.createRoom(made)
          return made
        }),
        get: (user, roomId) => Effect.andThen(access.require(roomId, user, everyone), room(roomId)),
        list: (user, params) =>
          Effect.map(
            repository.roomsOf(user, toQuery(params)),
            (found) =>
              new EncodedJson<Result<"rooms.list">>(
                `{${listed("rooms", found, params, ({ createdAt, roomId }) => [createdAt, roomId])}}`
              )
          ),
        delete: Effect.fn("Rooms.delete")(function* (user, roomId) {
          yield* access.require(roomId, user, owners)
          yield* hub.replyFirst(roomId, announced(repository.deleteRoom(roomId, yield* actorNow(user))))
        }),
        leave: Effect.fn("Rooms.leave")(function* (user, roomId, connectionId) {
          yield* access.require(roomId, user, everyone)
          const { owner } = yield* room(roomId)
          if (owner !== user)
            yield* hub.replyFirst(roomId, announced(repository.removeMember(roomId, user, yield* actorNow(user))))
          hub.leave(roomId, connectionId)
        }),
        remove: Effect.fn("Rooms.remove")(function* (user, roomId, other) {
          yield* access.require(roomId, user, owners)
          if (other === user) return yield* new Forbidden({ needs: "rooms.leave, to remove oneself" })
          yield* hub.replyFirst(roomId, announced(repository.removeMember(roomId, other, yield* actorNow(user))))
        })
      })
    })
  )
}
