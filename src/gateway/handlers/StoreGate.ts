// What happens in a room has to reach everybody in it: while this instance does not share its stores with the others, the
// methods of rooms and of the assistant wait for the comparison, then fail with StoresDiffer. Calls, contacts and feedback
// concern nobody else, and go on.
//
// And the last resort against a wait that should have had a deadline: such a request fails after `longestMs`, which is longer
// than the deadlines of all that it may do in turn. Not those that wait for a model, which takes as long as its integration
// allows; nor the two that are sent all the time, for which a timer each would cost a twentieth of their work: those wait
// only for the buffer and for requests of the same connection, which end.
import { Effect } from "effect"
import type { SharedStores } from "../../cluster/stores/SharedStores.ts"
import { StorageUnavailable } from "../../domain/Room.ts"
import type { ClientError } from "./ErrorReply.ts"

type Handle = (params: never, caller: never) => Effect.Effect<unknown, ClientError>

const longestMs = 45_000
const withoutLimit = new Set(["assistant.generate", "assistant.coach", "messages.send", "document.update"])

const concernsOthers = (method: string) => !method.startsWith("contacts.") && !method.startsWith("feedback.")

const limited =
  (handle: Handle): Handle =>
  (params, caller) =>
    Effect.timeoutOrElse(handle(params, caller), {
      duration: longestMs,
      orElse: () => Effect.fail(new StorageUnavailable({ reason: "the request took too long" }))
    })

export const gated = <H extends object>(handlers: H, stores: Pick<SharedStores["Service"], "agreed" | "isAgreed">): H =>
  Object.fromEntries(
    Object.entries(handlers as Readonly<Record<string, Handle>>).map(([method, handle]) => {
      const inTime = withoutLimit.has(method) ? handle : limited(handle)
      const afterwards: Handle = (params, caller) =>
        stores.isAgreed()
          ? inTime(params, caller)
          : Effect.andThen(
              stores.agreed,
              Effect.suspend(() => inTime(params, caller))
            )
      return [method, concernsOthers(method) ? afterwards : inTime]
    })
  ) as H
