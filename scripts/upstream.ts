// The sample integration as its own process: slow, failing or silent on request.
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { sampleUpstream } from "../src/catalog/sample/SampleUpstream.ts"

const rate = (name: string, meaning: string) =>
  Flag.Finite(name).pipe(Flag.withDefault(0), Flag.withDescription(`${meaning}, 0 to 1`))

const upstream = Command.make(
  "upstream",
  {
    port: Flag.Int("port").pipe(Flag.withDefault(9090), Flag.withDescription("0: a free one")),
    latency: Flag.Int("latency").pipe(Flag.withDefault(0), Flag.withDescription("milliseconds before an answer")),
    fail: rate("fail", "the share of requests answered 500"),
    hang: rate("hang", "the share of requests never answered")
  },
  Effect.fn(function* ({ fail, hang, latency, port }) {
    const server = createServer((request, response) => {
      const chance = Math.random()
      if (chance < hang) return
      const answer = () => {
        if (chance < hang + fail) response.writeHead(500).end('{"message":"failed on request"}')
        else sampleUpstream(request, response)
      }
      if (latency > 0) setTimeout(answer, latency)
      else answer()
    })
    yield* Effect.callback<void>((resume) => {
      server.listen(port, "127.0.0.1", () => resume(Effect.void))
    })
    yield* Console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/data/2.5/weather?q=London`)
    yield* Effect.never
  })
).pipe(
  Command.withDescription(
    "Answers like OpenWeatherMap for a few cities; POST /generate, /analyze and /assign like a model; POST /echo with the request"
  )
)

upstream.pipe(Command.run({ version: "0.1.0" }), Effect.provide(NodeServices.layer), NodeRuntime.runMain)
