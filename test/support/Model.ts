// A model as tests need one: what it answers is set by path, it counts who asks, and knows which of its connections are open.
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

// biome-ignore lint/suspicious/noExplicitAny: what a test looks at
type Input = any
export type Answering = (response: ServerResponse, input: Input) => unknown

export const probe = "is this definition known?"

export interface Model {
  readonly origin: string
  readonly on: (path: string, answer: Answering) => void
  readonly onBody: (listener: (body: Input) => void) => void
  /** The inputs that came at a path, in order. */
  readonly asked: (path: string) => ReadonlyArray<Input>
  /** Requests that are neither answered nor given up. */
  readonly open: () => number
  readonly stop: () => Promise<void>
}

export const json =
  (body: unknown, status = 200): Answering =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))

export const events = (response: ServerResponse, type = "text/event-stream") =>
  response.writeHead(200, { "content-type": type })

export const startModel = async (): Promise<Model> => {
  const answers = new Map<string, Answering>()
  const asked = new Map<string, Array<Input>>()
  const listeners: Array<(body: Input) => void> = []
  let open = 0
  const server = createServer((request, response) => {
    open++
    response.once("close", () => open--)
    const path = request.url ?? ""
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString())
      const { input = body } = body
      for (const listener of listeners) listener(body)
      asked.set(path, [...(asked.get(path) ?? []), input])
      // A test that looks whether a definition is known has its answer at once.
      const answer = JSON.stringify(body).includes(probe) ? json({}) : answers.get(path)
      answer?.(response, input)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    on: (path, answer) => answers.set(path, answer),
    onBody: (listener) => listeners.push(listener),
    asked: (path) => asked.get(path) ?? [],
    open: () => open,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
