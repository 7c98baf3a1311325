// What happens in a room has to reach everyone in it. While this instance does not share its stores with the others,
// the methods of rooms and of the assistant wait for the comparison of the stores, then fail with StoresDiffer. Calls,
// contacts and feedback concern no other user, and go on.
import { Effect } from "effect"
import type { SharedStores } from "../../cluster/stores/SharedStores.ts"
import type { StoresDiffer } from "../../domain/StoresDiffer.ts"

type Handler = (params: never, caller: never, inOrder: never) => Effect.Effect<unknown, unknown>

/** The methods that are not gated. */
type Ungated = `contacts.${string}` | `feedback.${string}`

/** A handler that may fail with StoresDiffer as well, unless its method is not gated. */
type Gated<Method, H> = H extends (...args: infer Args) => Effect.Effect<infer A, infer E>
  ? (...args: Args) => Effect.Effect<A, E | (Method extends Ungated ? never : StoresDiffer)>
  : never

const isGated = (method: string) => !method.startsWith("contacts.") && !method.startsWith("feedback.")

export const gated = <H extends object>(
  handlers: H,
  stores: Pick<SharedStores["Service"], "agreed" | "isAgreed">
): { readonly [M in keyof H]: Gated<M, H[M]> } =>
  Object.fromEntries(
    Object.entries(handlers as Readonly<Record<string, Handler>>).map(([method, handle]) => {
      const whenAgreed: Handler = (params, caller, inOrder) =>
        stores.isAgreed()
          ? handle(params, caller, inOrder)
          : Effect.andThen(
              stores.agreed,
              Effect.suspend(() => handle(params, caller, inOrder))
            )
      return [method, isGated(method) ? whenAgreed : handle]
    })
  ) as { readonly [M in keyof H]: Gated<M, H[M]> }
