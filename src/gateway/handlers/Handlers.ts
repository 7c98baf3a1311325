// What each method does, from decoded params to a result. The types come from Methods.ts: a method without a handler,
// and a handler whose result or errors its method does not declare, does not compile.
import { Context, Duration, Effect, Layer } from "effect"
import { Call } from "../../calls/Call.ts"
import { SharedStores } from "../../cluster/stores/SharedStores.ts"
import { counters, Metrics } from "../../observability/Metrics.ts"
import { EncodedJson } from "../../protocol/JsonRpc.ts"
import { openRpcDocument } from "../../protocol/OpenRpc.ts"
import { makeAssistantHandlers } from "./AssistantHandlers.ts"
import type { Handlers } from "./Caller.ts"
import { makeRoomHandlers } from "./RoomHandlers.ts"
import { gated } from "./StoreGate.ts"

export const makeHandlers = Effect.gen(function* () {
  const call = yield* Call
  const metrics = yield* Metrics
  const stores = yield* SharedStores
  // Encoded once: 67 kB, which take longer than all else that is done for a small request.
  const discovered = Effect.succeed(new EncodedJson(JSON.stringify(openRpcDocument)))
  const stats = () => ({
    connections: metrics.connectionsOpened.value - metrics.connectionsEnded.value,
    ...counters(metrics)
  })

  return {
    ...gated(yield* makeRoomHandlers, stores),
    ...gated(yield* makeAssistantHandlers, stores),
    "rpc.discover": () => discovered,
    "session.get": (_params, caller) =>
      Effect.succeed({
        connectionId: caller.id,
        user: caller.user,
        connectedAt: new Date(caller.connectedAt).toISOString(),
        requests: caller.requests
      }),
    "stats.subscribe": ({ everyMs }, caller) =>
      Effect.sync(() => {
        const send = Effect.catchDefect(
          Effect.sync(() => caller.notify("stats", stats())),
          (defect) => Effect.logError("stats were not sent", defect)
        )
        caller.keep("stats", Effect.forever(Effect.andThen(send, Effect.sleep(Duration.millis(everyMs)))))
        return {}
      }),
    "stats.unsubscribe": (_params, caller) =>
      Effect.sync(() => {
        caller.keep("stats", undefined)
        return {}
      }),
    call: ({ ack, input, integration }, caller) =>
      call.run({ user: caller.user, connectionId: caller.id, integration, input, ack })
  } satisfies Handlers
})

export class Handling extends Context.Service<Handling, Handlers>()("hotpath/gateway/handlers/Handling") {
  static readonly layer = Layer.effect(Handling, makeHandlers)
}
