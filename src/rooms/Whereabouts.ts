// Which room a message or a thread is in: requests name it alone, and it never moves.
import { Cache, Context, Duration, Effect, Exit, Layer } from "effect"
import type { MessageNotFound, ThreadNotFound } from "../domain/Message.ts"
import type { StorageUnavailable } from "../domain/Room.ts"
import { Repository } from "../storage/Repository.ts"

const capacity = 20_000

export class Whereabouts extends Context.Service<
  Whereabouts,
  {
    readonly roomOfMessage: (messageId: string) => Effect.Effect<string, MessageNotFound | StorageUnavailable>
    readonly roomOfThread: (threadId: string) => Effect.Effect<string, ThreadNotFound | StorageUnavailable>
  }
>()("hotpath/rooms/Whereabouts") {
  static readonly layer = Layer.effect(
    Whereabouts,
    Effect.gen(function* () {
      const repository = yield* Repository
      const remember = <E>(read: (id: string) => Effect.Effect<string, E>) =>
        Effect.map(
          Cache.makeWith(read, {
            capacity,
            timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
          }),
          (cache) => (id: string) => Cache.get(cache, id)
        )
      return Whereabouts.of({
        roomOfMessage: yield* remember(repository.roomOfMessage),
        roomOfThread: yield* remember(repository.roomOfThread)
      })
    })
  )
}
