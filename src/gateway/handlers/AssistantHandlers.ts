// What the methods of the assistant do. A model is slow, so a request that waits for one is not among its connection's
// requests in flight: chat, calls and cancels go on. A prompt is sent in the order of the connection's other writes;
// its generation is outside of that order.
import { Effect } from "effect"
import { Coaching } from "../../assistant/Coaching.ts"
import { Generation } from "../../assistant/Generation.ts"
import type { AssistantMethods } from "../../protocol/methods/AssistantMethods.ts"
import type { Handlers } from "./Caller.ts"
import { writes } from "./WriteQuota.ts"

export const makeAssistantHandlers = Effect.gen(function* () {
  const coaching = yield* Coaching
  const generation = yield* Generation

  return {
    "assistant.generate": (asked, caller, inOrder) =>
      Effect.andThen(
        writes(caller.use, asked.prompt),
        caller.aside(generation.generate(caller.user, asked, inOrder))
      ).pipe(
        // A prompt is sent to no thread.
        Effect.catchTag("ThreadNotFound", Effect.die)
      ),
    "assistant.cancel": ({ messageId, roomId }, { user }) => Effect.as(generation.cancel(user, roomId, messageId), {}),
    "assistant.coach": ({ text }, caller) => caller.aside(coaching.coach(caller.user, text))
  } satisfies Pick<Handlers, keyof typeof AssistantMethods>
})
