// An integration that does as its path says: answers, waits, fails, or misbehaves.
import { type Exchange, type Handler, overSockets } from "./Exchanges.ts"

export interface Misbehaving {
  readonly handler: Handler
  /** Paths of the requests that came, in order. */
  readonly seen: ReadonlyArray<string>
  /** Lets the requests go that wait at /gate. */
  readonly release: () => void
}

export interface Upstream extends Omit<Misbehaving, "handler"> {
  readonly origin: string
  readonly openRequests: () => number
  readonly stop: () => Promise<void>
}

/** More than any answer may have, and no end. */
const endless = "x".repeat(65_536)
const endlessCount = 128

export const makeMisbehaving = (): Misbehaving => {
  const seen: Array<string> = []
  const gated: Array<() => void> = []
  const json = (exchange: Exchange, value: unknown, status = 200) =>
    exchange.begin("application/json", status).end(JSON.stringify(value))
  const begun = (exchange: Exchange, status = 200) => exchange.begin("application/json", status)
  const writeEndless = (exchange: Exchange) => {
    for (let n = 0; n < endlessCount; n++) exchange.write(endless)
  }

  const handler: Handler = (exchange) => {
    seen.push(exchange.path)
    switch (exchange.path.replace(/\?.*/, "")) {
      case "/echo":
        return json(exchange, JSON.parse(exchange.body))
      case "/gate":
        return gated.push(() => json(exchange, { ok: true }))
      case "/hang":
        return
      case "/status/500":
        return json(exchange, {}, 500)
      case "/redirect":
        return exchange.begin("text/plain", 302, { location: "/echo" }).end()
      case "/garbage":
        return exchange.end("<html>")
      case "/deep":
        return exchange.end("[".repeat(5000) + "]".repeat(5000))
      case "/nul":
        return exchange.end('{"text":"a\\u0000b"}')
      case "/endless":
        return writeEndless(begun(exchange))
      case "/endless/503":
        return writeEndless(begun(exchange, 503))
      case "/sorry":
        return json(exchange, { error: { message: "city is\n missing" }, internal: "stack" }, 400)
      case "/ids":
        return exchange.end('{"id": 9223372036854775807}')
      case "/drip": {
        begun(exchange).write("[")
        const timer = setInterval(() => (exchange.isClosed() ? clearInterval(timer) : exchange.write(" ")), 20)
        return
      }
      case "/parts":
        return exchange.begin("text/event-stream").write("data: one\n\n")
      case "/break":
        return begun(exchange).write("{").destroy()
      default:
        return json(exchange, { path: exchange.path, method: exchange.method, headers: exchange.headers })
    }
  }
  return {
    handler,
    seen,
    release: () => {
      for (const go of gated.splice(0)) go()
    }
  }
}

export const startUpstream = async (): Promise<Upstream> => {
  const { handler, release, seen } = makeMisbehaving()
  const { open, origin, stop } = await overSockets(handler)
  return { origin, seen, release, openRequests: open, stop }
}
