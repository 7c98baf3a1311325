// One HTTP exchange with an integration, over undici's `dispatch`: the whole answer (or, for a reader, its parts as
// they arrive) within the deadline and the size limit, or a typed error. Redirects are not followed. An interruption
// closes the socket.
import { lookup as resolve } from "node:dns"
import { isIP, type LookupFunction } from "node:net"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { Agent, buildConnector, type Dispatcher } from "undici"
import { sampledSpan, spanIfSampled } from "../../observability/Tracing.ts"
import { Deadlines } from "./Deadlines.ts"
import { EgressPolicy } from "./EgressPolicy.ts"
import { LocalHosts } from "./LocalHosts.ts"
import { reasonOf } from "./NetworkReasons.ts"

export interface HttpRequest {
  /** `https://host:port` */
  readonly origin: string
  /** Including the query. */
  readonly path: string
  readonly method: "GET" | "POST"
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  /** Of the whole exchange, from connecting to the answer's last byte. */
  readonly timeoutMs: number
  readonly maxBytes: number
}

export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

/** Reads an answer while it arrives, within the limit and the deadline of the exchange. */
export interface AnswerReader {
  /** Called with the head; true: the answer is read in parts. Otherwise it is returned whole, as without a reader. */
  readonly begins: (status: number, contentType: string) => boolean
  /** Called with each part; false: no more is needed, and the connection is closed. */
  readonly takes: (part: Buffer) => boolean
  /** Called at the size limit; true: the parts so far are a valid answer. */
  readonly isFull?: () => boolean
}

export class HttpTimeout extends Schema.TaggedError<HttpTimeout>()("HttpTimeout", {}) {}

/** `reason` may be read by clients, so it holds no address: "connection refused", "host not found", … */
export class HttpUnreachable extends Schema.TaggedError<HttpUnreachable>()("HttpUnreachable", {
  reason: Schema.String
}) {}

/** The rest of the answer was not read. */
export class HttpAnswerTooLarge extends Schema.TaggedError<HttpAnswerTooLarge>()("HttpAnswerTooLarge", {
  limit: Schema.Finite,
  status: Schema.Finite
}) {}

export type HttpError = HttpTimeout | HttpUnreachable | HttpAnswerTooLarge

const unreachable = (error: Error) => new HttpUnreachable({ reason: reasonOf(error) })

/**
 * undici's handler of one exchange. It settles once: by the end of the answer, an error, the size limit, the deadline,
 * or an interruption. Later events are ignored. An abort before the request started takes effect when it starts.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #settle: (exit: Effect.Effect<HttpAnswer, HttpError>) => void
  readonly #maxBytes: number
  readonly #reader: AnswerReader | undefined
  #isRead = false
  readonly #forget: () => void
  #controller: Dispatcher.DispatchController | undefined
  #settled = false
  #status = 0
  #size = 0
  #first: Buffer | undefined
  #more: Array<Buffer> | undefined

  constructor(
    request: HttpRequest,
    reader: AnswerReader | undefined,
    deadlines: Deadlines,
    settle: (exit: Effect.Effect<HttpAnswer, HttpError>) => void
  ) {
    this.#settle = settle
    this.#reader = reader
    this.#maxBytes = request.maxBytes
    this.#forget = deadlines.add(request.timeoutMs, this)
  }

  expire() {
    this.stop(Effect.fail(new HttpTimeout()))
  }

  #end(exit: Effect.Effect<HttpAnswer, HttpError> | undefined) {
    if (this.#settled) return
    this.#settled = true
    this.#forget()
    if (exit !== undefined) this.#settle(exit)
  }

  /** Ends the exchange and its socket. Without `exit` the caller was interrupted. */
  stop(exit?: Effect.Effect<HttpAnswer, HttpError>) {
    this.#end(exit)
    this.#controller?.abort(stopped)
  }

  onRequestStart(controller: Dispatcher.DispatchController) {
    this.#controller = controller
    if (this.#settled) controller.abort(stopped)
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  ) {
    this.#status = status
    this.#isRead = !this.#settled && this.#reader?.begins(status, String(headers["content-type"] ?? "")) === true
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer) {
    if (this.#settled) return
    this.#size += chunk.length
    if (this.#size > this.#maxBytes) {
      if (this.#isRead && this.#reader?.isFull?.() === true) {
        return this.stop(Effect.succeed({ status: this.#status, body: "" }))
      }
      return this.stop(Effect.fail(new HttpAnswerTooLarge({ limit: this.#maxBytes, status: this.#status })))
    }
    if (this.#isRead) {
      if (this.#reader?.takes(chunk) === false) this.stop(Effect.succeed({ status: this.#status, body: "" }))
      return
    }
    if (this.#first === undefined) this.#first = chunk
    else {
      this.#more ??= [this.#first]
      this.#more.push(chunk)
    }
  }

  onResponseEnd() {
    const body = this.#more === undefined ? this.#first : Buffer.concat(this.#more)
    this.#end(Effect.succeed({ status: this.#status, body: body?.toString() ?? "" }))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error) {
    this.#end(Effect.fail(unreachable(error)))
  }
}

const stopped = new Error("the exchange was ended")

const denied = () => Object.assign(new Error("the address is not allowed"), { code: "HOTPATH_DENIED" })

/** Resolves a name to its allowed addresses. The socket connects to one of these only. */
const allowedLookup =
  (allows: (address: string) => boolean): LookupFunction =>
  (hostname, options, callback) =>
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, "")
      const allowed = found.filter(({ address }) => allows(address))
      const [first] = allowed
      if (first === undefined) return callback(denied(), "")
      if (options.all === true) callback(null, allowed)
      else callback(null, first.address, first.family)
    })

/** What a scripted integration answers. */
export interface ScriptedAnswer extends HttpAnswer {
  readonly contentType?: string
  /** Takes the place of `body`: each part arrives when the stream has it. If the stream fails, the connection breaks. */
  readonly parts?: Stream.Stream<string, HttpError>
}

/** What a socket brings at once, at most. */
const maxRead = 65_536

const reads = (text: string): ReadonlyArray<Buffer> => {
  const bytes = Buffer.from(text)
  const count = Math.ceil(bytes.length / maxRead)
  return Array.from({ length: count }, (_, n) => bytes.subarray(n * maxRead, (n + 1) * maxRead))
}

/** As `Exchange` reads an answer. */
const readScripted = Effect.fnUntraced(function* (
  { body, contentType = "", parts = Stream.succeed(body), status }: ScriptedAnswer,
  { maxBytes }: HttpRequest,
  reader: AnswerReader | undefined
) {
  const isRead = reader?.begins(status, contentType) === true
  const whole: Array<Buffer> = []
  let size = 0
  yield* Stream.runForEachWhile(
    Stream.flatMap(parts, (text) => Stream.fromIterable(reads(text))),
    (part) => {
      size += part.length
      if (size > maxBytes) {
        if (isRead && reader?.isFull?.() === true) return Effect.succeed(false)
        return Effect.fail(new HttpAnswerTooLarge({ limit: maxBytes, status }))
      }
      if (isRead) return Effect.succeed(reader?.takes(part) !== false)
      whole.push(part)
      return Effect.succeed(true)
    }
  )
  return { status, body: Buffer.concat(whole).toString() }
})

export class Http extends Context.Service<
  Http,
  {
    /** If a reader takes the answer in parts, the body is empty. */
    readonly send: (request: HttpRequest, reader?: AnswerReader) => Effect.Effect<HttpAnswer, HttpError>
  }
>()("hotpath/infra/http/Http") {
  /** There are as many connections as concurrent exchanges, kept alive between them. */
  static readonly layer = Layer.effect(
    Http,
    Effect.gen(function* () {
      const hosts = yield* LocalHosts
      const { allows } = yield* EgressPolicy
      const connect = buildConnector({ timeout: 5000, lookup: allowedLookup(allows) })
      const agent = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new Agent({
              // The exchange has one timer, its deadline; undici's would be two more.
              headersTimeout: 0,
              bodyTimeout: 0,
              pipelining: 1,
              connect: (options, callback) => {
                const port = hosts.resolve(options.hostname)
                // An address in the URL is not resolved, so it is checked here.
                const literal = options.hostname.replace(/^\[(.*)\]$/, "$1")
                if (port === undefined && isIP(literal) !== 0 && !allows(literal)) return callback(denied(), null)
                connect(
                  port === undefined
                    ? options
                    : { ...options, hostname: "127.0.0.1", host: `127.0.0.1:${port}`, port: String(port) },
                  callback
                )
              }
            })
        ),
        (opened) => Effect.promise(() => opened.destroy())
      )

      const deadlines = new Deadlines()
      const exchange = (request: HttpRequest, reader: AnswerReader | undefined, traceparent: string | undefined) =>
        Effect.callback<HttpAnswer, HttpError>((resume) => {
          const handler = new Exchange(request, reader, deadlines, resume)
          agent.dispatch(
            {
              origin: request.origin,
              path: request.path,
              method: request.method,
              headers: traceparent === undefined ? request.headers : { ...request.headers, traceparent },
              body: request.body ?? null
            },
            handler
          )
          return Effect.sync(() => handler.stop())
        })

      const traced = (request: HttpRequest, reader: AnswerReader | undefined) =>
        spanIfSampled(`http ${request.method}`, {
          kind: "client",
          attributes: { "server.address": request.origin, "http.request.method": request.method }
        })(
          Effect.withFiber<HttpAnswer, HttpError>((fiber) => {
            const span = sampledSpan(fiber)
            return exchange(request, reader, span === undefined ? undefined : `00-${span.traceId}-${span.spanId}-01`)
          })
        )

      return Http.of({
        send: (request, reader) =>
          Effect.withFiber((fiber) =>
            sampledSpan(fiber) === undefined ? exchange(request, reader, undefined) : traced(request, reader)
          )
      })
    })
  )

  /** For tests: answers come from `handler`, within the deadline (by Effect's clock) and the size limit. */
  static readonly layerScripted = (handler: (request: HttpRequest) => Effect.Effect<ScriptedAnswer, HttpError>) =>
    Layer.sync(Http, () => ({
      send: (request, reader) =>
        Effect.timeoutOrElse(
          Effect.flatMap(handler(request), (answer) => readScripted(answer, request, reader)),
          { duration: request.timeoutMs, orElse: () => Effect.fail(new HttpTimeout()) }
        )
    }))
}
