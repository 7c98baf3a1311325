// What the methods of the assistant do. A model is slow: what waits for one is none of the connection's requests in flight, so
// that its chat, its calls and its cancels go on.
import { Effect } from "effect"
import { Coaching } from "../../assistant/Coaching.ts"
import { Generation } from "../../assistant/Generation.ts"
import type { makeKeyedMutex } from "../../infra/KeyedMutex.ts"
import type { AssistantMethods } from "../../protocol/methods/AssistantMethods.ts"
import type { Handlers } from "./Caller.ts"
import { writes } from "./WriteQuota.ts"

export const makeAssistantHandlers = Effect.fnUntraced(function* (turns: ReturnType<typeof makeKeyedMutex>) {
  const coach = yield* Coaching
  const generation = yield* Generation

  const handlers: Pick<Handlers, keyof typeof AssistantMethods> = {
    "assistant.generate": (asked, caller) =>
      Effect.andThen(
        writes(caller.use, asked.prompt),
        caller.aside(generation.generate(caller.user, asked, (write) => turns(caller.id, write)))
      ),
    "assistant.cancel": ({ messageId, roomId }, { user }) => Effect.as(generation.cancel(user, roomId, messageId), {}),
    "assistant.coach": ({ text }, caller) => caller.aside(coach.coach(caller.user, text))
  }
  return handlers
})
