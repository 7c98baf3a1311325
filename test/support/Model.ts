// A model as tests need one: what it answers is set by path, and it keeps what it was asked.
import type { Exchange, Handler } from "./Exchanges.ts"

// biome-ignore lint/suspicious/noExplicitAny: what a test looks at
type Input = any
export type Answering = (exchange: Exchange, input: Input) => unknown

export const probe = "is this definition known?"

export interface Model {
  readonly on: (path: string, answer: Answering) => void
  readonly onBody: (listener: (body: Input) => void) => void
  /** The inputs that came at a path, in order. */
  readonly asked: (path: string) => ReadonlyArray<Input>
}

export const json =
  (body: unknown, status = 200): Answering =>
  (exchange) =>
    exchange.begin("application/json", status).end(JSON.stringify(body))

export const events = (exchange: Exchange, type = "text/event-stream") => exchange.begin(type)

export const makeModel = (): Model & { readonly handler: Handler } => {
  const answers = new Map<string, Answering>()
  const asked = new Map<string, Array<Input>>()
  const listeners: Array<(body: Input) => void> = []
  return {
    on: (path, answer) => answers.set(path, answer),
    onBody: (listener) => listeners.push(listener),
    asked: (path) => asked.get(path) ?? [],
    handler: (exchange) => {
      const body = JSON.parse(exchange.body)
      const { input = body } = body
      for (const listener of listeners) listener(body)
      asked.set(exchange.path, [...(asked.get(exchange.path) ?? []), input])
      // A test that looks whether a definition is known has its answer at once.
      const answer = exchange.body.includes(probe) ? json({}) : answers.get(exchange.path)
      answer?.(exchange, input)
    }
  }
}
