// Threads: what a room's messages are sorted into.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { actorNow } from "../domain/Actor.ts"
import { type Thread, ThreadNotFound } from "../domain/Message.ts"
import { everyone, type Forbidden, type NotAMember, writers } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import type { Result } from "../protocol/methods/Methods.ts"
import { Repository, type WriteRefused } from "../storage/rooms/Repository.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import type { ListParams } from "./Listing.ts"
import { RoomIndex } from "./RoomIndex.ts"
import { RoomReadCache } from "./RoomReadCache.ts"

export type ThreadChange = Partial<Pick<Thread, "title" | "category" | "archived">>

export class Threads extends Context.Service<
  Threads,
  {
    readonly create: (
      user: string,
      roomId: string,
      title: string,
      category: string | null
    ) => Effect.Effect<Thread, WriteRefused>
    /** `{threads, more, next}`: archived ones, the others, or all. */
    readonly list: (
      user: string,
      roomId: string,
      archived: boolean | undefined,
      params: ListParams
    ) => Effect.Effect<EncodedJson<Result<"threads.list">>, AccessError | Forbidden>
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
      const repository = yield* Repository
      const access = yield* Access
      const reads = yield* RoomReadCache
      const { roomOfThread } = yield* RoomIndex
      const { announced } = yield* OutboxRelay
      const hub = yield* Hub

      return Threads.of({
        create: Effect.fn("Threads.create")(function* (user, roomId, title, category) {
          yield* access.require(roomId, user, writers)
          const threadId = SecureRandom.uuidV7Unsafe()
          const thread = { threadId, roomId, title, category, archived: false, createdAt: yield* now }
          return yield* hub.replyFirst(roomId, announced(repository.createThread(thread, yield* actorNow(user))))
        }),
        list: Effect.fn("Threads.list")(function* (user, roomId, archived, params) {
          const { versions } = yield* access.require(roomId, user, everyone)
          return new EncodedJson<Result<"threads.list">>(
            `{${yield* reads.threads(roomId, archived, versions, params)}}`
          )
        }),
        change: Effect.fn("Threads.change")(
          function* (user, threadId, change) {
            const roomId = yield* roomOfThread(threadId)
            yield* access.require(roomId, user, writers)
            return yield* hub.replyFirst(
              roomId,
              announced(repository.changeThread(roomId, threadId, change, yield* actorNow(user)))
            )
          },
          // One of a room that is not the caller's answers as if it were not there.
          Effect.catchTag("NotAMember", () => Effect.fail(new ThreadNotFound()))
        )
      })
    })
  )
}
