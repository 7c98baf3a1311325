// What each method does, from decoded params to a result.
import { Context, Duration, Effect, Layer } from "effect"
import { Coaching } from "../../assistant/Coaching.ts"
import { Generation } from "../../assistant/Generation.ts"
import { Call } from "../../calls/Call.ts"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import { SharedStores } from "../../cluster/stores/SharedStores.ts"
import { InvalidInput } from "../../domain/Integration.ts"
import { RateLimited } from "../../domain/Overload.ts"
import type { StoresDiffer } from "../../domain/Room.ts"
import { counters, Metrics } from "../../observability/Metrics.ts"
import { EncodedJson } from "../../protocol/JsonRpc.ts"
import type { MethodError, MethodName, Params, Result } from "../../protocol/methods/Methods.ts"
import { openRpcText } from "../../protocol/OpenRpc.ts"
import { Contacts } from "../../rooms/Contacts.ts"
import { CustomEvents } from "../../rooms/CustomEvents.ts"
import { Documents } from "../../rooms/Documents.ts"
import { Invites } from "../../rooms/Invites.ts"
import { Messages } from "../../rooms/Messages.ts"
import { Rooms } from "../../rooms/Rooms.ts"
import { Signals } from "../../rooms/Signals.ts"
import { type Guest, Subscriptions } from "../../rooms/Subscriptions.ts"
import { Threads } from "../../rooms/Threads.ts"
import { makeResumeAll } from "./ResumeAll.ts"

/** What a handler may know of, and do with, the connection it works for. */
export interface Caller extends Guest {
  readonly connectedAt: number
  /** What all connections of its user have used. */
  readonly use: UserUse
  readonly requests: number
  readonly notify: (method: string, params: unknown) => void
  /** Runs long work outside the connection's requests in flight (up to a number of them). */
  readonly aside: <A, E>(work: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Runs the effect until the connection ends, in place of an earlier one of that name; undefined only ends that. */
  readonly keep: (name: string, effect: Effect.Effect<void> | undefined) => void
}

/** Does the write of a `mixed` method in the order of the connection's writes. */
export type InOrder = <A, E>(write: Effect.Effect<A, E>) => Effect.Effect<A, E>

/**
 * A handler for each method. A method without one, and a handler whose result or errors its method does not declare,
 * does not compile.
 */
export type Handlers = {
  readonly [M in MethodName]: (
    params: Params<M>,
    caller: Caller,
    inOrder: InOrder
  ) => Effect.Effect<Result<M> | EncodedJson<Result<M>>, MethodError<M>>
}

const nothing = Effect.map(() => ({}))

/** Bytes stored besides the text: ids, names, times, the event. */
const overhead = 256

/**
 * Counts `textOf`, which is what the request adds to the room, against the bytes that the user may write in a day,
 * before anything is written: locally, without a wait.
 */
const counted =
  <P, A, E>(
    textOf: (params: P) => string,
    handle: (params: P, caller: Caller, inOrder: InOrder) => Effect.Effect<A, E>
  ) =>
  (params: P, caller: Caller, inOrder: InOrder) =>
    Effect.clockWith((clock): Effect.Effect<A, E | RateLimited> => {
      const wait = caller.use.write(Buffer.byteLength(textOf(params)) + overhead, clock.currentTimeMillisUnsafe())
      if (wait > 0) return Effect.fail(new RateLimited({ limit: "bytes", retryAfterMs: wait }))
      return handle(params, caller, inOrder)
    })

type Handler = (params: never, caller: never, inOrder: never) => Effect.Effect<unknown, unknown>

/** Each of the handlers, which may fail with StoresDiffer as well. */
type Gated<H> = {
  readonly [M in keyof H]: H[M] extends (...args: infer Args) => Effect.Effect<infer A, infer E>
    ? (...args: Args) => Effect.Effect<A, E | StoresDiffer>
    : never
}

/**
 * What happens in a room has to reach everyone in it. While this instance does not share its stores with the others,
 * these handlers wait for the comparison of the stores, then fail with StoresDiffer.
 */
export const gated = <H extends object>(handlers: H, stores: Pick<SharedStores["Service"], "agreed" | "isAgreed">) =>
  Object.fromEntries(
    Object.entries(handlers as Readonly<Record<string, Handler>>).map(([method, handle]): [string, Handler] => [
      method,
      (params, caller, inOrder) =>
        stores.isAgreed()
          ? handle(params, caller, inOrder)
          : Effect.andThen(
              stores.agreed,
              Effect.suspend(() => handle(params, caller, inOrder))
            )
    ])
  ) as Gated<H>

export const makeHandlers = Effect.gen(function* () {
  const call = yield* Call
  const coaching = yield* Coaching
  const contacts = yield* Contacts
  const customEvents = yield* CustomEvents
  const documents = yield* Documents
  const generation = yield* Generation
  const invites = yield* Invites
  const messages = yield* Messages
  const metrics = yield* Metrics
  const rooms = yield* Rooms
  const signals = yield* Signals
  const subscriptions = yield* Subscriptions
  const threads = yield* Threads
  const resumeAll = yield* makeResumeAll
  const discovered = Effect.succeed(new EncodedJson(openRpcText))
  const stats = () => ({
    connections: metrics.connectionsOpened.value - metrics.connectionsEnded.value,
    ...counters(metrics)
  })

  const ofRooms = {
    "rooms.create": ({ autoAssign = false, title }, { user }) => rooms.create(user, title, autoAssign),
    "rooms.get": ({ roomId }, { user }) => rooms.get(user, roomId),
    "rooms.list": (params, { user }) => rooms.list(user, params),
    "rooms.participants": ({ roomId, ...part }, { user }) => subscriptions.participants(user, roomId, part),
    "rooms.update": counted(
      ({ title = "" }) => title,
      ({ roomId, ...change }, { user }) => rooms.update(user, roomId, change)
    ),
    "rooms.delete": ({ roomId }, { user }) => nothing(rooms.delete(user, roomId)),
    "rooms.join": ({ invite, roomId }, caller) => subscriptions.join(caller, roomId, invite),
    "rooms.resume": ({ cursor, roomId }, caller) => subscriptions.resume(caller, roomId, cursor),
    "rooms.resumeAll": ({ rooms }, caller) => resumeAll(caller, rooms),
    "rooms.publish": counted(
      ({ data }) => JSON.stringify(data),
      ({ data, name, roomId }, { user }) =>
        Effect.map(customEvents.publish(user, roomId, name, data), (seq) => ({ seq }))
    ),
    "rooms.signal": ({ data, name, roomId }, caller) => nothing(signals.signal(caller, roomId, name, data)),
    "rooms.leave": ({ roomId }, { id, user }) => nothing(rooms.leave(user, roomId, id)),
    "rooms.remove": ({ roomId, user }, caller) => nothing(rooms.remove(caller.user, roomId, user)),
    "rooms.invite": ({ roomId, ...options }, { user }) =>
      Effect.map(invites.create(user, roomId, options), (token) => ({ token })),
    "rooms.invites": ({ roomId, ...page }, { user }) => invites.list(user, roomId, page),
    "rooms.revokeInvite": ({ inviteId, roomId, token }, { user }) => {
      if (token !== undefined && inviteId === undefined) return nothing(invites.revoke(user, roomId, { token }))
      if (inviteId !== undefined && token === undefined) return nothing(invites.revoke(user, roomId, { inviteId }))
      return Effect.fail(new InvalidInput({ reason: "name the invite by its token, or by its inviteId", path: [] }))
    },
    "presence.list": ({ roomId, ...part }, { user }) => subscriptions.present(user, roomId, part),

    "threads.create": counted(
      ({ title }) => title,
      ({ category = null, roomId, title }, { user }) => threads.create(user, roomId, title, category)
    ),
    "threads.list": ({ archived, roomId, ...part }, { user }) => threads.list(user, roomId, archived, part),
    "threads.rename": ({ threadId, title }, { user }) => threads.change(user, threadId, { title }),
    "threads.categorize": ({ category, threadId }, { user }) => threads.change(user, threadId, { category }),
    "threads.archive": ({ threadId }, { user }) => threads.change(user, threadId, { archived: true }),
    "threads.unarchive": ({ threadId }, { user }) => threads.change(user, threadId, { archived: false }),

    "messages.send": counted(
      ({ body }) => body,
      (params, { user }) => messages.send(user, params)
    ),
    "messages.edit": counted(
      ({ body }) => body,
      ({ body, messageId }, { user }) => messages.edit(user, messageId, body)
    ),
    "messages.delete": ({ messageId }, { user }) => nothing(messages.delete(user, messageId)),
    "messages.list": (params, { user }) => messages.list(user, params),
    "messages.react": counted(
      ({ emoji }) => emoji,
      ({ emoji, messageId }, { user }) => messages.react(user, messageId, emoji, true)
    ),
    "messages.unreact": ({ emoji, messageId }, { user }) =>
      // One reaction less is never too many.
      Effect.catchTag(messages.react(user, messageId, emoji, false), "TooManyReactions", Effect.die),

    "document.get": ({ roomId }, { user }) => documents.get(user, roomId),
    "document.update": counted(
      ({ text }) => text,
      ({ roomId, ...edit }, caller) =>
        Effect.map(documents.update(caller, roomId, edit), ({ savedVersion, version }) => ({ version, savedVersion }))
    ),
    "document.switch": counted(
      ({ name }) => name,
      ({ name, roomId }, caller) => documents.switch(caller, roomId, name)
    ),

    // A model is slow, so a request that waits for one is not among its connection's requests in flight: chat, calls
    // and cancels go on. A prompt is sent in the order of the connection's other writes, and generated outside of it.
    "assistant.generate": counted(
      ({ prompt }) => prompt,
      (asked, caller, inOrder) =>
        caller.aside(generation.generate(caller.user, asked, inOrder)).pipe(
          // A prompt is sent to no thread.
          Effect.catchTag("ThreadNotFound", Effect.die)
        )
    ),
    "assistant.cancel": ({ messageId, roomId }, { user }) => nothing(generation.cancel(user, roomId, messageId)),
    "assistant.coach": ({ text }, caller) => caller.aside(coaching.coach(caller.user, text))
  } satisfies Partial<Handlers>

  // The rest concerns no other user, and needs no agreement about the stores.
  return {
    ...gated(ofRooms, yield* SharedStores),
    "rpc.discover": () => discovered,
    "session.get": (_params, caller) =>
      Effect.succeed({
        connectionId: caller.id,
        user: caller.user,
        connectedAt: new Date(caller.connectedAt).toISOString(),
        requests: caller.requests
      }),
    "stats.subscribe": ({ everyMs }, caller) =>
      Effect.sync(() => {
        const send = Effect.catchDefect(
          Effect.sync(() => caller.notify("stats", stats())),
          (defect) => Effect.logError("stats were not sent", defect)
        )
        caller.keep("stats", Effect.forever(Effect.andThen(send, Effect.sleep(Duration.millis(everyMs)))))
        return {}
      }),
    "stats.unsubscribe": (_params, caller) =>
      Effect.sync(() => {
        caller.keep("stats", undefined)
        return {}
      }),
    call: ({ ack, input, integration }, caller) =>
      call.run({ user: caller.user, connectionId: caller.id, integration, input, ack }),
    "contacts.add": (params, { user }) => contacts.addContact(user, params),
    "contacts.list": (params, { user }) => contacts.contacts(user, params),
    "contacts.remove": ({ user: other }, { user }) => nothing(contacts.removeContact(user, other)),
    "feedback.submit": counted(
      ({ comment }) => comment ?? "",
      (params, { user }) => Effect.map(contacts.submit(user, params), (feedbackId) => ({ feedbackId }))
    )
  } satisfies Handlers
})

export class Handling extends Context.Service<Handling, Handlers>()("hotpath/gateway/handlers/Handling") {
  static readonly layer = Layer.effect(Handling, makeHandlers)
}
