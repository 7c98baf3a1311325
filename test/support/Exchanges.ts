// The integrations' other end, for suites that run over sockets and in memory: a handler has each request in its hands.
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Cause, Deferred, Effect, Queue, Stream } from "effect"
import { type HttpError, type HttpRequest, HttpUnreachable } from "../../src/infra/http/Http.ts"
import type { Upstream } from "../../src/testing/Upstream.ts"

export interface Exchange {
  /** Including the query. */
  readonly path: string
  readonly method: string
  readonly headers: Readonly<Record<string, unknown>>
  /** The request's body. */
  readonly body: string
  /** Sends the head; without it the first text does, with status 200 and no type. */
  readonly begin: (type: string, status?: number, headers?: Readonly<Record<string, string>>) => Exchange
  readonly write: (text: string) => Exchange
  readonly end: (text?: string) => void
  /** Breaks the connection. */
  readonly destroy: () => void
  /** Nothing more can be sent: it is answered, or broken, or the caller left. */
  readonly isClosed: () => boolean
}

export type Handler = (exchange: Exchange) => unknown

export interface OtherEnd {
  readonly origin: string
  /** Requests that are neither answered nor given up. */
  readonly open: () => number
  readonly stop: () => Promise<void>
}

export const overSockets = async (handler: Handler): Promise<OtherEnd> => {
  let open = 0
  const server = createServer((request, response) => {
    open++
    response.once("close", () => open--)
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const exchange: Exchange = {
        path: request.url ?? "",
        method: request.method ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
        begin: (type, status = 200, headers = {}) => {
          response.writeHead(status, { "content-type": type, ...headers })
          response.flushHeaders()
          return exchange
        },
        write: (text) => {
          response.write(text)
          return exchange
        },
        end: (text) => void response.end(text),
        // Behind what was written.
        destroy: () => void setImmediate(() => response.destroy()),
        isClosed: () => response.closed
      }
      handler(exchange)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: () => open,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}

const broken = new HttpUnreachable({ reason: "connection closed" })

/** The same without sockets. Nothing is at other origins. */
export const inMemory = (handler: Handler): OtherEnd & { readonly upstream: Upstream } => {
  const origin = "http://integrations.test"
  let open = 0

  const answer = Effect.fnUntraced(function* (request: HttpRequest) {
    const head = Deferred.makeUnsafe<{ readonly contentType: string; readonly status: number }, HttpError>()
    const parts = yield* Queue.unbounded<string, HttpError | Cause.Done>()
    let isClosed = false
    const close = Effect.sync(() => {
      if (!isClosed) open--
      isClosed = true
    })
    const begin = (contentType: string, status: number) =>
      Deferred.doneUnsafe(head, Effect.succeed({ contentType, status }))
    const exchange: Exchange = {
      path: request.path,
      method: request.method,
      headers: request.headers,
      body: request.body ?? "",
      begin: (type, status = 200) => {
        begin(type, status)
        return exchange
      },
      write: (text) => {
        begin("", 200)
        Queue.offerUnsafe(parts, text)
        return exchange
      },
      end: (text = "") => {
        exchange.write(text)
        Queue.endUnsafe(parts)
      },
      destroy: () => {
        Deferred.doneUnsafe(head, Effect.fail(broken))
        Queue.failCauseUnsafe(parts, Cause.fail(broken))
      },
      isClosed: () => isClosed
    }
    open++
    handler(exchange)
    const begun = yield* Effect.onError(Deferred.await(head), () => close)
    return { ...begun, parts: Stream.ensuring(Stream.fromQueue(parts), close) }
  })

  return {
    origin,
    open: () => open,
    stop: async () => {},
    upstream: (request) =>
      request.origin === origin
        ? answer(request)
        : Effect.fail(
            new HttpUnreachable({
              reason: request.origin.endsWith(".invalid") ? "host not found" : "connection refused"
            })
          )
  }
}
