// A program over the package, as its users write one. Package.test.ts compiles it against the packed types.
import { Effect, Layer } from "effect"
import {
  App,
  Call,
  type CallReply,
  Messages,
  type Overloaded,
  type Params,
  RateLimited,
  Settings,
  type SettingsInvalid
} from "hotpath"

/** The whole service, with settings from the environment, until it is interrupted. */
export const serve = Layer.launch(App).pipe(
  Effect.catchTag("SettingsInvalid", (error: SettingsInvalid) => Effect.die(error.message))
)

export const port = Effect.map(Settings, ({ PORT }): number => PORT)

const city: Params<"call"> = { integration: "weather", input: { city: "London" } }

export const weather = Effect.gen(function* () {
  const { run } = yield* Call
  const { value } = yield* run({ ...city, user: "ann", connectionId: "c", ack: undefined })
  return value
}).pipe(
  Effect.catchTag("Overloaded", (error: Overloaded) => Effect.fail(error.what)),
  Effect.map((reply: CallReply) => reply.body)
)

export const send = Effect.flatMap(Messages, (messages) => messages.send("ann", { roomId: "r", body: "Hello" }))

export const isLimit = (error: unknown) => error instanceof RateLimited
