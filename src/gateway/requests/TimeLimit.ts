// The last resort against a wait that should have had a deadline: a request of rooms or of the assistant fails after
// `longestMs`, its wait for earlier writes included. That is longer than the deadlines of all that it may do in turn.
//
// Not limited are requests that wait for a model, which takes as long as its integration allows; and the two that are
// sent all the time, for which a timer each would cost a twentieth of their work: they wait for the buffer and for
// earlier requests of the same connection only, which end.
import { Effect } from "effect"
import { StorageUnavailable } from "../../domain/Room.ts"
import { AssistantMethods } from "../../protocol/methods/AssistantMethods.ts"
import { DocumentMethods } from "../../protocol/methods/DocumentMethods.ts"
import { MessageMethods } from "../../protocol/methods/MessageMethods.ts"
import { RoomMethods } from "../../protocol/methods/RoomMethods.ts"

const longestMs = 45_000

const unlimited = new Set(["assistant.generate", "assistant.coach", "messages.send", "document.update"])
const limited = new Set(
  [RoomMethods, MessageMethods, DocumentMethods, AssistantMethods]
    .flatMap((methods) => Object.keys(methods))
    .filter((method) => !unlimited.has(method))
)

export const withTimeLimit = <A, E>(
  method: string,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E | StorageUnavailable> =>
  limited.has(method)
    ? Effect.timeoutOrElse(effect, {
        duration: longestMs,
        orElse: () => Effect.fail(new StorageUnavailable({ reason: "the request took too long" }))
      })
    : effect
