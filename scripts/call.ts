// A small client: sends one request, prints the result and all notifications. Exits with 0 on a result, else with 1.
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { WebSocket } from "ws"

class CallFailed extends Schema.TaggedError<CallFailed>()("CallFailed", { message: Schema.String }) {}

const failed = (message: string) => Effect.fail(new CallFailed({ message }))

const address = (url: string, user: string, token: Option.Option<string>) => {
  const full = new URL(url)
  if (Option.isSome(token)) full.searchParams.set("token", token.value)
  else full.searchParams.set("user", user)
  return full
}

interface Options {
  readonly url: URL
  readonly method: string
  readonly params: unknown
  /** The only field of the result to print, as it is. */
  readonly field: Option.Option<string>
  readonly watch: boolean
}

const converse = ({ field, method, params, url, watch }: Options) =>
  Effect.callback<void, CallFailed>((settle) => {
    const socket = new WebSocket(url, { maxPayload: 16 * 1024 * 1024 })
    // An open socket would keep the process alive, so every exit closes it.
    const resume = (exit: Effect.Effect<void, CallFailed>) => {
      settle(exit)
      socket.terminate()
    }
    const where = `${url.protocol}//${url.host}${url.pathname}`
    socket.on("error", (error) => resume(failed(`${where}: ${error.message || "no connection"}`)))
    socket.on("unexpected-response", (_request, response) => {
      response.resume()
      resume(failed(`${where} refused: ${response.statusCode} ${response.statusMessage ?? ""}`))
    })
    socket.on("close", (code, reason) => resume(failed(`closed: ${code} ${reason.toString()}`)))
    socket.on("open", () => socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })))
    socket.on("message", (data) => {
      const message = JSON.parse(data.toString())
      if (message.method === "connected") return
      if (message.id !== 1) return console.log(JSON.stringify({ [message.method]: message.params }))
      if (message.error !== undefined) return resume(failed(JSON.stringify(message.error, undefined, 2)))
      if (Option.isSome(field)) console.log(message.result[field.value])
      else console.log(JSON.stringify(message.result, undefined, 2))
      if (!watch) resume(Effect.void)
    })
    return Effect.sync(() => socket.terminate())
  })

const call = Command.make(
  "call",
  {
    method: Argument.String("method").pipe(Argument.withDescription("such as call, session.get, rpc.discover")),
    params: Argument.String("params").pipe(Argument.withDescription("a JSON object"), Argument.withDefault("{}")),
    user: Flag.String("user").pipe(Flag.withDefault("dev"), Flag.withDescription("who you are, in development")),
    token: Flag.String("token").pipe(Flag.optional, Flag.withDescription("a JWT")),
    url: Flag.String("url").pipe(Flag.withDefault(`ws://127.0.0.1:${process.env["PORT"] ?? "8080"}/ws`)),
    timeout: Flag.Int("timeout").pipe(Flag.withDefault(30), Flag.withDescription("seconds to wait for the reply")),
    field: Flag.String("field").pipe(Flag.optional, Flag.withDescription("prints this field of the result only")),
    watch: Flag.Boolean("watch").pipe(Flag.withDefault(false), Flag.withDescription("stays and prints notifications"))
  },
  Effect.fn(function* ({ field, method, params, timeout, token, url, user, watch }) {
    const parsed = yield* Effect.try({
      try: (): unknown => JSON.parse(params),
      catch: () => new CallFailed({ message: `not JSON: ${params}` })
    })
    if (!URL.canParse(url)) return yield* failed(`not a URL: ${url}`)
    const conversation = converse({ url: address(url, user, token), method, params: parsed, field, watch })
    yield* watch
      ? conversation
      : Effect.timeoutOrElse(conversation, {
          duration: `${timeout} seconds`,
          orElse: () => failed(`no reply in ${timeout} seconds`)
        })
  })
).pipe(Command.withDescription("Send one request to hotpath and print the result"))

call.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.catchTag("CallFailed", ({ message }) =>
    Effect.andThen(
      Console.error(message),
      Effect.sync(() => process.exit(1))
    )
  ),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
