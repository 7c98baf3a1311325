// Signals (`rooms.signal`): a cursor, a selection, that a user types. The connections that are in the room now get
// them, but the sender's; they have no number, and nothing keeps them.
//
// A connection's signals go out at 20 a second, with bursts of 20. What comes faster is thinned: of one room and name
// the last one waits for its turn, and is sent.
import { Clock, Context, Effect, Layer } from "effect"
import { RoomBus, type RoomSignal } from "../cluster/rooms/RoomBus.ts"
import { monotonicMs } from "../domain/Time.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import type { Subscriber } from "./delivery/Subscription.ts"

const burst = 20
const everyMs = 50
/** Names that wait of one connection; of more the oldest are left out. */
const maxWaiting = 100

/** What one connection has sent. */
interface Sender {
  allowance: number
  /** When the allowance was counted. */
  countedAt: number
  /** By room and name, the oldest first. */
  readonly waiting: Map<string, RoomSignal>
  isSending: boolean
}

export class Signals extends Context.Service<
  Signals,
  {
    readonly signal: (from: Subscriber, roomId: string, name: string, data: unknown) => Effect.Effect<void, AccessError>
  }
>()("hotpath/rooms/Signals") {
  static readonly layer = Layer.effect(
    Signals,
    Effect.gen(function* () {
      const access = yield* Access
      const bus = yield* RoomBus
      const hub = yield* Hub
      const clock = yield* Clock.Clock
      const scope = yield* Effect.scope
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const { counter } = yield* Metrics
      const thinned = counter(
        "room_signals_thinned_total",
        "Signals that were left out for a later one, or for being too many"
      )
      const senders = new Map<string, Sender>()

      const senderOf = (from: Subscriber): Sender => {
        const known = senders.get(from.id)
        if (known !== undefined) return known
        const sender = { allowance: burst, countedAt: monotonicMs(clock), waiting: new Map(), isSending: false }
        senders.set(from.id, sender)
        from.whenClosed(() => void senders.delete(from.id))
        return sender
      }

      const mayTake = (sender: Sender): boolean => {
        const now = monotonicMs(clock)
        sender.allowance = Math.min(burst, sender.allowance + (now - sender.countedAt) / everyMs)
        sender.countedAt = now
        if (sender.allowance < 1) return false
        sender.allowance--
        return true
      }

      // Without the bus it reaches the connections here.
      const send = (signal: RoomSignal) =>
        Effect.catch(bus.signal(signal), () => Effect.sync(() => hub.signalLocally(signal)))

      /** Sends what waits, each in its turn. */
      const sendWaiting = Effect.fnUntraced(
        function* (sender: Sender) {
          while (sender.waiting.size > 0) {
            yield* Effect.sleep(everyMs)
            if (!mayTake(sender)) continue
            for (const [key, signal] of sender.waiting) {
              sender.waiting.delete(key)
              yield* send(signal)
              break
            }
          }
        },
        (sending, sender) =>
          Effect.ensuring(
            sending,
            Effect.sync(() => {
              sender.isSending = false
            })
          )
      )

      return Signals.of({
        // Untraced, as it is frequent.
        signal: Effect.fnUntraced(function* (from, roomId, name, data) {
          // Who is subscribed is a member: the subscription ends with the membership.
          if (!hub.isSubscribed(roomId, from.id)) yield* access.member(roomId, from.user)
          const params = JSON.stringify({ roomId, user: from.user, connectionId: from.id, name, data })
          const signal = { roomId, connectionId: from.id, name, params }
          const sender = senderOf(from)
          if (sender.waiting.size === 0 && mayTake(sender)) return yield* send(signal)
          const key = `${roomId} ${name}`
          if (sender.waiting.has(key)) thinned.add()
          else if (sender.waiting.size >= maxWaiting) {
            const [oldest = ""] = sender.waiting.keys()
            sender.waiting.delete(oldest)
            thinned.add()
          }
          sender.waiting.set(key, signal)
          if (sender.isSending) return
          // In one step: a request that is interrupted in between would leave it noted and not begun.
          sender.isSending = true
          run(Effect.forkIn(sendWaiting(sender), scope))
        })
      })
    })
  )
}
