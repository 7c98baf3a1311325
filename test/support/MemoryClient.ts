// A client of the kit as the tests over sockets have it.
import { EventEmitter } from "node:events"
import { Effect } from "effect"
import type { TestClient } from "../../src/testing/TestClient.ts"
import type { Client, Reply } from "./Client.ts"

export const asClient = (own: TestClient): Client => {
  const emitter = new EventEmitter()
  emitter.setMaxListeners(0)
  const waiting = new Map<unknown, PromiseWithResolvers<Reply>>()
  own.onFrame((text) => {
    emitter.emit("message", text)
    const frame = JSON.parse(text)
    waiting.get(frame.id)?.resolve(frame)
    waiting.delete(frame.id)
  })
  const closed = Effect.runPromise(own.closed)
  void closed.then(() => {
    for (const { reject } of waiting.values()) reject(new Error("the connection closed before the reply"))
  })
  let count = 0
  return {
    socket: {
      on: (event, listener) => void emitter.on(event, listener),
      send: (text) => own.send(text),
      close: () => own.close(),
      terminate: () => own.cut()
    },
    messages: own.frames,
    closed,
    close: () => own.close(),
    request: (method, params = {}) => {
      const id = `of the client ${++count}`
      const reply = Promise.withResolvers<Reply>()
      waiting.set(id, reply)
      own.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }))
      return reply.promise
    },
    raw: (text) => Effect.runPromise(own.raw(text))
  }
}
