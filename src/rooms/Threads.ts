// Threads: the topics that a room's messages are sorted into.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { actorNow } from "../domain/Actor.ts"
import { type Thread, ThreadNotFound } from "../domain/Message.ts"
import type { NotAMember } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import type { ThreadChange } from "../storage/rooms/RoomRules.ts"
import { ThreadStore } from "../storage/rooms/ThreadStore.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import type { ListParams, Reply } from "./Listing.ts"
import { RoomReadCache } from "./RoomReadCache.ts"

export class Threads extends Context.Service<
  Threads,
  {
    readonly create: (
      user: string,
      roomId: string,
      title: string,
      category: string | null
    ) => Effect.Effect<Thread, WriteRefused>
    /** `archived` undefined: all threads. */
    readonly list: (
      user: string,
      roomId: string,
      archived: boolean | undefined,
      params: ListParams
    ) => Effect.Effect<Reply<"threads.list">, AccessError>
    readonly change: (
      user: string,
      threadId: string,
      change: ThreadChange
    ) => Effect.Effect<Thread, Exclude<WriteRefused, NotAMember> | ThreadNotFound>
  }
>()("hotpath/rooms/Threads") {
  static readonly layer = Layer.effect(
    Threads,
    Effect.gen(function* () {
      const access = yield* Access
      const reads = yield* RoomReadCache
      const threads = (yield* OutboxRelay).publishing(yield* ThreadStore, ThreadStore.writes)
      const hub = yield* Hub

      return Threads.of({
        create: Effect.fn("Threads.create")(function* (user, roomId, title, category) {
          yield* access.require(roomId, user, "member")
          const threadId = SecureRandom.uuidV7Unsafe()
          const thread = { threadId, roomId, title, category, archived: false, createdAt: yield* now }
          return yield* hub.replyFirst(roomId, threads.create(thread, yield* actorNow(user)))
        }),
        list: Effect.fn("Threads.list")(function* (user, roomId, archived, params) {
          const { versions } = yield* access.member(roomId, user)
          return yield* reads.threads(roomId, archived, versions, params)
        }),
        change: Effect.fn("Threads.change")(
          function* (user, threadId, change) {
            const roomId = yield* threads.roomOf(threadId)
            yield* access.require(roomId, user, "member")
            return yield* hub.replyFirst(roomId, threads.change(roomId, threadId, change, yield* actorNow(user)))
          },
          // A thread of a room that the caller is not in fails like one that does not exist.
          Effect.catchTag("NotAMember", () => Effect.fail(new ThreadNotFound()))
        )
      })
    })
  )
}
