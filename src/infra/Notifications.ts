// Notifications of changes that instances send each other: what a subscriber receives, and the channel in memory, which
// stands for a channel of Postgres. Its bound: a subscriber that leaves `maxUnread` unread misses the next ones, and
// receives `Lost` and `Gap` after those that it has.
import { Effect, Queue, Stream } from "effect"

/** What a subscriber of a channel receives. Notifications that are sent while it is not subscribed are lost. */
export type Notification<A = string> =
  /** The channel is listened to from here on. Notifications may be missing before it: re-read what they are about. */
  | { readonly _tag: "Gap" }
  /** Notifications are missing until the next `Gap`: the connection was lost, or too many were unread. */
  | { readonly _tag: "Lost" }
  | { readonly _tag: "Notified"; readonly payloads: ReadonlyArray<A> }

/** Unread notifications of one subscriber; beyond it, re-reading everything is cheaper. */
export const maxUnread = 100_000
/** Payloads in one `Notified`. */
export const maxPayloads = 1000

export interface MemoryChannel<A> {
  readonly publish: (payload: A) => void
  readonly subscribe: Stream.Stream<Notification<A>>
}

export const makeMemoryChannel = <A>(): MemoryChannel<A> => {
  const listeners = new Set<(payload: A) => void>()
  const session = Effect.gen(function* () {
    const unread = yield* Queue.dropping<A>(maxUnread)
    let isWhole = true
    const receive = (payload: A) => {
      if (!Queue.offerUnsafe(unread, payload)) isWhole = false
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => void listeners.add(receive)),
      () => Effect.sync(() => void listeners.delete(receive))
    )
    const next = Effect.map(Queue.takeBetween(unread, 1, maxPayloads), (payloads): ReadonlyArray<Notification<A>> => {
      const notified = { _tag: "Notified", payloads } as const
      if (isWhole) return [notified]
      isWhole = true
      return [notified, { _tag: "Lost" }, { _tag: "Gap" }]
    })
    return Stream.fromIterableEffectRepeat(next).pipe(Stream.prepend<Notification<A>>([{ _tag: "Gap" }]))
  })
  return {
    publish: (payload) => {
      for (const receive of listeners) receive(payload)
    },
    subscribe: Stream.unwrap(session)
  }
}
