// A client of the WebSocket protocol without a socket: its frames go through the same decoder, dispatcher, limits and
// encoder as those of a client over the network. Made by `TestHotpath.client`.
import { Deferred, Effect, Predicate, Schema, type Scope } from "effect"
import { UserLimits } from "../cluster/limits/UserLimits.ts"
import { Connections } from "../gateway/connection/Connections.ts"
import { Authentication } from "../gateway/http/Authentication.ts"
import type { MethodName, Params, Result } from "../protocol/methods/Methods.ts"
import { Settings } from "../Settings.ts"
import { type Closed, MemorySocket } from "./MemorySocket.ts"

/** The service answered a request with an error. */
export class RequestFailed extends Schema.TaggedError<RequestFailed>()("RequestFailed", {
  /** The error's type, e.g. `NotAMember`. */
  type: Schema.String,
  code: Schema.Finite,
  message: Schema.String,
  retryable: Schema.Boolean,
  /** All fields of the error's `data`. */
  data: Schema.Record(Schema.String, Schema.Unknown)
}) {}

/** The connection closed before the request was answered: it may have been done. */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>()("ConnectionLost", {
  code: Schema.Finite,
  reason: Schema.String
}) {}

/** The upgrade would have been refused with this status. */
export class ConnectRefused extends Schema.TaggedError<ConnectRefused>()("ConnectRefused", {
  status: Schema.Finite,
  reason: Schema.String
}) {}

/** What was waited for did not arrive within ten seconds of real time. */
export class NotReceived extends Schema.TaggedError<NotReceived>()("NotReceived", {
  what: Schema.String,
  /** What arrived instead: the last frames. */
  received: Schema.Array(Schema.Unknown)
}) {
  override get message() {
    return `${this.what} was not received. The last frames: ${JSON.stringify(this.received)}`
  }
}

export interface Notification {
  readonly method: string
  readonly params: { readonly [name: string]: unknown }
}

export interface TestClient {
  readonly user: string
  /** Sends a request and waits for its reply. */
  readonly request: <M extends MethodName>(
    method: M,
    params: Params<M>
  ) => Effect.Effect<Result<M>, RequestFailed | ConnectionLost>
  /** Sends a text as one frame, valid or not. */
  readonly send: (text: string) => void
  /** Sends a text and waits for the next frame that is not a notification, decoded: a reply, or the array of a batch. */
  readonly raw: (text: string) => Effect.Effect<unknown, ConnectionLost>
  /** Every frame that arrived, decoded, in order. */
  readonly frames: ReadonlyArray<unknown>
  /** Calls the listener with the text of each frame that arrives from now on. */
  readonly onFrame: (listener: (text: string) => void) => void
  /** The notifications among them. */
  readonly notifications: () => ReadonlyArray<Notification>
  /** The `room.event` params of a room, in order. */
  readonly events: (roomId: string) => ReadonlyArray<Notification["params"]>
  /** The first notification of this kind, whether it arrived already or arrives within ten seconds (of real time). */
  readonly receives: (
    method: string,
    isIt?: (params: Notification["params"]) => boolean
  ) => Effect.Effect<Notification["params"], NotReceived>
  /** False: this client reads nothing more, and the server feels it. */
  readonly reads: (reads: boolean) => void
  readonly answersPings: (answers: boolean) => void
  readonly close: () => void
  /** Cuts the link, without a close frame. */
  readonly cut: () => void
  /** As if the server's process was gone: only this side sees the end. */
  readonly abandon: () => void
  /** Waits for the end of the connection. */
  readonly closed: Effect.Effect<Closed>
}

/** How long `receives` waits, by the real clock: a limit, so that a failed test can say what arrived. */
const patienceMs = 10_000
/** Frames that `NotReceived` repeats. */
const shownFrames = 20

const isObject = (value: unknown): value is Record<string, unknown> => Predicate.isObject(value)
const isNotification = (frame: unknown): frame is Notification =>
  isObject(frame) && typeof frame["method"] === "string" && !("id" in frame)

const Reply = Schema.Struct({
  id: Schema.Finite,
  result: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(
    Schema.Struct({
      code: Schema.Finite,
      message: Schema.String,
      data: Schema.Record(Schema.String, Schema.Unknown)
    })
  )
})
const decodeReply = Schema.decodeUnknownOption(Reply)

type Outcome = Deferred.Deferred<unknown, RequestFailed | ConnectionLost>

/** The client's side: what arrived, and who waits for what. */
class Inbox {
  readonly frames: Array<unknown> = []
  readonly listeners: Array<(text: string) => void> = []
  readonly closed = Deferred.makeUnsafe<Closed>()
  readonly #replies = new Map<number, Outcome>()
  #raw: Array<Outcome> = []
  #watchers = new Set<() => void>()
  #end: ConnectionLost | undefined
  #lastId = 0

  frame(text: string): void {
    const frame: unknown = JSON.parse(text)
    this.frames.push(frame)
    for (const listener of this.listeners) listener(text)
    if (isNotification(frame)) for (const watch of [...this.#watchers]) watch()
    else this.#reply(frame)
  }

  #reply(frame: unknown): void {
    const reply = decodeReply(frame)
    const waiting = reply._tag === "Some" ? this.#replies.get(reply.value.id) : undefined
    if (reply._tag === "None" || waiting === undefined) {
      const raw = this.#raw.shift()
      if (raw !== undefined) Deferred.doneUnsafe(raw, Effect.succeed(frame))
      return
    }
    const { error, id, result } = reply.value
    this.#replies.delete(id)
    if (error === undefined) return void Deferred.doneUnsafe(waiting, Effect.succeed(result))
    const { code, data, message } = error
    const [type, retryable] = [String(data["type"]), data["retryable"] === true]
    Deferred.doneUnsafe(waiting, Effect.fail(new RequestFailed({ type, code, message, retryable, data })))
  }

  end(closed: Closed): void {
    const lost = new ConnectionLost(closed)
    this.#end = lost
    for (const waiting of [...this.#replies.values(), ...this.#raw]) Deferred.doneUnsafe(waiting, Effect.fail(lost))
    this.#replies.clear()
    this.#raw = []
    Deferred.doneUnsafe(this.closed, Effect.succeed(closed))
  }

  /** The id of the next request, and its outcome. */
  expect(): { readonly id: number; readonly outcome: Outcome } {
    const outcome: Outcome = Deferred.makeUnsafe()
    const id = ++this.#lastId
    if (this.#end === undefined) this.#replies.set(id, outcome)
    else Deferred.doneUnsafe(outcome, Effect.fail(this.#end))
    return { id, outcome }
  }

  expectRaw(): Outcome {
    const outcome: Outcome = Deferred.makeUnsafe()
    if (this.#end === undefined) this.#raw.push(outcome)
    else Deferred.doneUnsafe(outcome, Effect.fail(this.#end))
    return outcome
  }

  notifications(): ReadonlyArray<Notification> {
    return this.frames.filter(isNotification)
  }

  receives(
    method: string,
    isIt: (params: Notification["params"]) => boolean
  ): Effect.Effect<Notification["params"], NotReceived> {
    const find = () => this.notifications().find((one) => one.method === method && isIt(one.params))
    return Effect.callback((resume) => {
      const watch = () => {
        const found = find()
        if (found === undefined) return false
        stop()
        resume(Effect.succeed(found.params))
        return true
      }
      const stop = () => {
        clearTimeout(timer)
        this.#watchers.delete(watch)
      }
      const timer = setTimeout(() => {
        stop()
        resume(Effect.fail(new NotReceived({ what: method, received: this.frames.slice(-shownFrames) })))
      }, patienceMs)
      this.#watchers.add(watch)
      watch()
      return Effect.sync(stop)
    })
  }
}

export interface Credentials {
  /** In development. */
  readonly user?: string
  /** A JWT. */
  readonly token?: string
}

/** What an upgrade does between the request and the open socket, without HTTP. */
export const connect = Effect.fnUntraced(function* (
  credentials: Credentials
): Effect.fn.Return<TestClient, ConnectRefused, Authentication | Connections | Settings | UserLimits | Scope.Scope> {
  const authentication = yield* Authentication
  const connections = yield* Connections
  const users = yield* UserLimits
  const settings = yield* Settings
  const refuse = (status: number, reason: string) => new ConnectRefused({ status, reason })

  const full = connections.fullBecause()
  if (full !== undefined) return yield* refuse(503, full)
  const identity = yield* authentication
    .identify({
      authorization: credentials.token === undefined ? undefined : `Bearer ${credentials.token}`,
      query: new URLSearchParams(credentials.user === undefined ? {} : { user: credentials.user })
    })
    .pipe(Effect.mapError(({ _tag, reason }) => refuse(_tag === "Unauthorized" ? 401 : 503, reason)))
  const use = yield* Effect.mapError(users.connect(identity.user), ({ limit }) => refuse(429, limit))

  const inbox = new Inbox()
  const socket = new MemorySocket(
    { frame: (text) => inbox.frame(text), closed: (closed) => inbox.end(closed) },
    settings.MAX_FRAME_BYTES
  )
  yield* Effect.acquireRelease(
    Effect.sync(() => connections.open(socket, socket, identity, use, (connection) => socket.attach(connection))),
    () => Effect.sync(() => socket.leave(1000))
  )

  const client: TestClient = {
    user: identity.user,
    request: (method, params) =>
      Effect.suspend(() => {
        const { id, outcome } = inbox.expect()
        socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }))
        // The reply was encoded from the method's own result.
        return Deferred.await(outcome) as Effect.Effect<Result<typeof method>, RequestFailed | ConnectionLost>
      }),
    send: (text) => socket.send(text),
    raw: (text) =>
      Effect.suspend(() => {
        const outcome = inbox.expectRaw()
        socket.send(text)
        return Effect.catchTag(Deferred.await(outcome), "RequestFailed", Effect.die)
      }),
    frames: inbox.frames,
    onFrame: (listener) => void inbox.listeners.push(listener),
    notifications: () => inbox.notifications(),
    events: (roomId) =>
      inbox
        .notifications()
        .filter(({ method, params }) => method === "room.event" && params["roomId"] === roomId)
        .map(({ params }) => params),
    receives: (method, isIt = () => true) => inbox.receives(method, isIt),
    reads: (reads) => socket.read(reads),
    answersPings: (answers) => socket.answerPings(answers),
    close: () => socket.leave(1000),
    cut: () => socket.cut(),
    abandon: () => socket.abandon(),
    closed: Deferred.await(inbox.closed)
  }
  return client
})
