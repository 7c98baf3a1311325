// Which room a message or a thread is in: requests name it alone, and it never moves.
import { Cache, Context, Duration, Effect, Exit, Layer } from "effect"
import { isUuid } from "../domain/Ids.ts"
import { MessageNotFound, ThreadNotFound } from "../domain/Message.ts"
import type { StorageUnavailable } from "../domain/Room.ts"
import { Repository } from "../storage/rooms/Repository.ts"

const capacity = 20_000

export class RoomIndex extends Context.Service<
  RoomIndex,
  {
    readonly roomOfMessage: (messageId: string) => Effect.Effect<string, MessageNotFound | StorageUnavailable>
    readonly roomOfThread: (threadId: string) => Effect.Effect<string, ThreadNotFound | StorageUnavailable>
  }
>()("hotpath/rooms/RoomIndex") {
  static readonly layer = Layer.effect(
    RoomIndex,
    Effect.gen(function* () {
      const repository = yield* Repository
      const remember = <E, N>(read: (id: string) => Effect.Effect<string, E>, unknown: () => N) =>
        Effect.map(
          Cache.makeWith(read, {
            capacity,
            timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
          }),
          (cache) => (id: string) => (isUuid(id) ? Cache.get(cache, id) : Effect.fail(unknown()))
        )
      return RoomIndex.of({
        roomOfMessage: yield* remember(repository.roomOfMessage, () => new MessageNotFound()),
        roomOfThread: yield* remember(repository.roomOfThread, () => new ThreadNotFound())
      })
    })
  )
}
