// The order in which the dispatcher does the requests of one connection.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { type Handlers, Handling, type InOrder } from "../../../src/gateway/handlers/Handlers.ts"
import { Dispatcher, type Origin } from "../../../src/gateway/requests/Dispatcher.ts"
import { FailureLog } from "../../../src/gateway/requests/FailureLog.ts"
import { WriteOrder } from "../../../src/gateway/requests/WriteOrder.ts"
import { Lifecycle } from "../../../src/observability/Lifecycle.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { RequestInfo } from "../../../src/observability/RequestContext.ts"
import type { Request } from "../../../src/protocol/JsonRpc.ts"
import { Settings } from "../../../src/Settings.ts"

const request = (method: string, params: object): Request => ({ _tag: "Request", id: 1, method, params })
const send = (body: string) => request("messages.send", { roomId: "room", body })
const prompt = (body: string) => request("assistant.generate", { roomId: "room", prompt: body })
const get = (roomId: string) => request("rooms.get", { roomId })

/** A dispatcher whose handlers say what they did in `done`; a write, and a generation, takes until it is let through. */
const setUp = Effect.gen(function* () {
  const done: Array<string> = []
  const gates = new Map<string, Deferred.Deferred<void>>()
  const gate = (name: string) => {
    const found = gates.get(name) ?? Deferred.makeUnsafe<void>()
    gates.set(name, found)
    return found
  }
  const work = (name: string) =>
    Effect.andThen(
      Deferred.await(gate(name)),
      Effect.sync(() => {
        done.push(name)
        return {}
      })
    )
  const handlers = {
    "messages.send": ({ body }: { readonly body: string }) => work(body),
    "rooms.get": ({ roomId }: { readonly roomId: string }) => Effect.sync(() => done.push(roomId)),
    "assistant.generate": ({ prompt }: { readonly prompt: string }, _caller: unknown, inOrder: InOrder) =>
      Effect.andThen(inOrder(work(prompt)), work(`${prompt} generated`))
  } as unknown as Handlers
  const context = yield* Layer.build(
    Dispatcher.layer.pipe(
      Layer.provide(Layer.succeed(Handling, handlers)),
      Layer.provide([Metrics.layer, Lifecycle.layer, FailureLog.layer]),
      Layer.provide(Settings.layer)
    )
  )
  const dispatcher = yield* Effect.provideContext(Dispatcher, context)
  const origin = { writes: new WriteOrder(), replyRoom: () => 1_000_000 } as unknown as Origin
  const info = () => new RequestInfo("connection", "ann")
  const start = (effect: Effect.Effect<string | undefined>) => Effect.forkChild(effect, { startImmediately: true })
  const settled = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
  return {
    done,
    settled,
    open: (...names: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        for (const name of names) yield* Deferred.succeed(gate(name), undefined)
        yield* settled
      }),
    frame: (one: Request) => start(dispatcher.handle(one, "", origin, info())),
    batch: (requests: ReadonlyArray<Request>, slots: number) =>
      start(dispatcher.batch(requests, [], "", origin, slots, info))
  }
})

describe("requests of one connection", () => {
  it.effect("are done in the order they came if they write, and at once if they read", () =>
    Effect.gen(function* () {
      const { done, frame, open } = yield* setUp
      yield* frame(send("a"))
      const last = yield* frame(send("b"))
      yield* frame(get("read"))
      yield* open("b")
      assert.deepEqual(done, ["read"])
      yield* open("a")
      yield* Fiber.join(last)
      assert.deepEqual(done, ["read", "a", "b"])
    })
  )

  it.effect("of a batch come before those of later frames, though they begin later", () =>
    Effect.gen(function* () {
      const { batch, done, frame, open } = yield* setUp
      yield* batch([send("a"), send("b"), get("read")], 1)
      const later = yield* frame(send("c"))
      yield* open("b", "c", "a")
      yield* Fiber.join(later)
      assert.deepEqual(done, ["a", "b", "read", "c"])
    })
  )

  it.effect("wait for the prompt of a generation, and not for the generation", () =>
    Effect.gen(function* () {
      const { batch, done, frame, open } = yield* setUp
      const first = yield* batch([prompt("a"), send("b")], 2)
      const later = yield* frame(send("c"))
      yield* open("c", "b")
      assert.deepEqual(done, [])
      yield* open("a")
      yield* Fiber.join(later)
      assert.deepEqual(done, ["a", "b", "c"])
      yield* open("a generated")
      yield* Fiber.join(first)
    })
  )

  it.effect("go on after one that was refused", () =>
    Effect.gen(function* () {
      const { done, frame, open } = yield* setUp
      yield* frame(request("messages.send", { nonsense: true }))
      const later = yield* frame(send("a"))
      yield* open("a")
      yield* Fiber.join(later)
      assert.deepEqual(done, ["a"])
    })
  )
})
