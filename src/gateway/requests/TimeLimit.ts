// The last resort against a wait that should have had a deadline: a request that uses the room's stores fails after
// `longestMs`, its wait for earlier writes included. That is longer than the deadlines of all that it may do in turn.
import { Effect } from "effect"
import { StorageUnavailable } from "../../domain/Room.ts"
import { type MethodName, Methods } from "../../protocol/methods/Methods.ts"

const longestMs = 45_000

// A model takes as long as its integration allows. The other two are sent all the time, and a timer each would cost a
// twentieth of their work: they wait for the buffer and for earlier requests of the same connection only, which end.
const unlimited = new Set(["assistant.generate", "messages.send", "document.update"])
const limited = new Set(
  Object.entries(Methods).flatMap(([method, { errors }]) =>
    errors.some((error) => error === StorageUnavailable) && !unlimited.has(method) ? [method] : []
  )
)

export const withTimeLimit = <A, E>(
  method: MethodName,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E | StorageUnavailable> =>
  limited.has(method)
    ? Effect.timeoutOrElse(effect, {
        duration: longestMs,
        orElse: () => Effect.fail(new StorageUnavailable({ reason: "the request took too long" }))
      })
    : effect
