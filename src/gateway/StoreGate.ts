// What happens in a room has to reach everybody in it: while this instance does not share its stores with the others, the
// methods of rooms and of the assistant wait for the comparison, then fail with StoresDiffer. Calls, contacts and feedback
// concern nobody else, and go on.
import { Effect } from "effect"
import type { SharedStores } from "../cluster/SharedStores.ts"
import type { ClientError } from "./ErrorReply.ts"

type Handle = (params: never, caller: never) => Effect.Effect<unknown, ClientError>

const isOfARoom = (method: string) => !method.startsWith("contacts.") && !method.startsWith("feedback.")

export const gated = <H extends object>(handlers: H, stores: SharedStores["Service"]): H =>
  Object.fromEntries(
    Object.entries(handlers as Readonly<Record<string, Handle>>).map(([method, handle]) => {
      const one: Handle = (params, caller) =>
        stores.isAgreed()
          ? handle(params, caller)
          : Effect.andThen(
              stores.agreed,
              Effect.suspend(() => handle(params, caller))
            )
      return [method, isOfARoom(method) ? one : handle]
    })
  ) as H
