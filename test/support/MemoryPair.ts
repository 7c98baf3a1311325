// Two instances in this process, over memory, with the real clock: what RoomPair.ts has as processes over real servers.
import { EventEmitter } from "node:events"
import { Effect, Exit, Layer, Scope } from "effect"
import type { TestClient } from "../../src/testing/TestClient.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"
import type { Client, Reply } from "./Client.ts"
import { liftedLimits } from "./LiftedLimits.ts"
import { roomClient } from "./RoomClient.ts"
import { inRooms, type RoomPair } from "./RoomPair.ts"

/** A client of the kit as the tests over sockets have it. */
const asClient = (own: TestClient): Client => {
  const emitter = new EventEmitter()
  own.onFrame((text) => void emitter.emit("message", text))
  let id = 0
  return {
    socket: {
      on: (event, listener) => void emitter.on(event, listener),
      send: (text) => own.send(text),
      close: () => own.close(),
      terminate: () => own.cut()
    },
    messages: own.frames,
    closed: Effect.runPromise(own.closed),
    close: () => own.close(),
    request: async (method, params = {}) => {
      const own_ = `raw.${++id}`
      const answer = own.raw(JSON.stringify({ jsonrpc: "2.0", id: own_, method, params }))
      return (await Effect.runPromise(answer)) as Reply
    },
    raw: (text) => Effect.runPromise(own.raw(text))
  }
}

export const startMemoryPair = async (env: Readonly<Record<string, string>> = {}): Promise<RoomPair> => {
  const scope = Effect.runSync(Scope.make())
  const settings = { ...liftedLimits, REQUEST_RATE: "100000", REQUEST_BURST: "100000", ...env }
  const { instances } = await Effect.runPromise(
    Effect.map(Layer.buildWithScope(TestHotpath.layer({ instances: 2, settings }), scope), (context) => context).pipe(
      Effect.flatMap((context) => Effect.provideContext(TestHotpath, context))
    )
  )
  const client: RoomPair["client"] = async (user, number = 0) => {
    const instance = instances[number]
    if (instance === undefined) throw new Error(`there is no instance ${number}`)
    return roomClient(user, asClient(await Effect.runPromise(Scope.provide(instance.client(user), scope))))
  }
  return { client, room: inRooms(client), stop: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}
