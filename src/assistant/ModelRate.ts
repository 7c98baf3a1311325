// Models cost money: one user may make USER_MODEL_RATE requests to them a minute, with all of the assistant's methods
// and on all instances together.
import { Context, Effect, Layer } from "effect"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import type { RateLimited } from "../domain/Overload.ts"
import { Settings } from "../Settings.ts"

export class ModelRate extends Context.Service<
  ModelRate,
  { readonly take: (user: string) => Effect.Effect<void, RateLimited> }
>()("hotpath/assistant/ModelRate") {
  static readonly layer = Layer.effect(
    ModelRate,
    Effect.gen(function* () {
      const limits = yield* RateLimits
      const { USER_MODEL_RATE } = yield* Settings
      const rule = { name: "models", limit: USER_MODEL_RATE, window: "1 minute" } as const
      return ModelRate.of({ take: (user) => limits.consume(`models:${user}`, rule) })
    })
  )
}
