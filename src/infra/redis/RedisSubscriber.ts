// One subscriber connection for all channels of an instance, opened with the first subscription. When it is lost or
// silent a new one subscribes to all channels again. Redis does not report messages that were published in between, so
// a subscriber numbers its messages or re-reads. Messages of one channel arrive in the order in which they were
// published.
import { Duration, Effect, Latch } from "effect"
import type { Redis } from "effect/persistence"
import type { Redis as Client } from "ioredis"
import { backoff, endpoints, makeSingle, type RedisOptions } from "./RedisConnections.ts"
import * as ShardedSubscriber from "./ShardedSubscriber.ts"

type Listener = (message: Redis.RedisMessage) => void

/** How often the connection is probed: one that died silently is found this way. */
const heartbeatMs = 5000

/** By the machine's clock: a test's clock may stand still while Redis does not. */
const sleepReal = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

/** Completes when the connection is lost. Closes it when it does not answer. */
const untilLost = (client: Client): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const beat = setInterval(() => client.ping().catch(() => client.disconnect()), heartbeatMs)
    const end = () => {
      clearInterval(beat)
      resume(Effect.void)
    }
    if (client.status === "end") return end()
    client.once("end", end)
    return Effect.sync(() => clearInterval(beat))
  })

export const make = Effect.fnUntraced(function* (options: RedisOptions) {
  const scope = yield* Effect.scope
  const urls = endpoints(options)
  const patience = Duration.toMillis(options.commandTimeout)
  const listeners = new Map<string, Set<Listener>>()
  const subscribed = Latch.makeUnsafe(false)
  const resubscriptionListeners = new Set<() => void>()
  const notifyResubscribed = () => {
    for (const listener of resubscriptionListeners) listener()
  }
  const isCluster = urls.length > 1
  const isSharded = (channel: string) => isCluster && channel.startsWith("{")
  const shardsSubscribed = Latch.makeUnsafe(false)
  let shardsStarted = false
  let current: Client | undefined
  let started = false
  let attempt = 0
  let away = false

  const open = Effect.acquireRelease(
    Effect.sync(() => {
      const [first = ""] = urls
      const client = makeSingle(options, urls[attempt % urls.length] ?? first)
      client.on("error", () => {})
      client.on("message", (channel: string, message: string) => {
        for (const listener of listeners.get(channel) ?? []) listener({ channel, message })
      })
      return client
    }),
    (client) =>
      Effect.sync(() => {
        current = undefined
        subscribed.closeUnsafe()
        client.disconnect()
      })
  )

  const session = Effect.gen(function* () {
    const client = yield* open
    yield* Effect.tryPromise(() => client.connect())
    // From here on new listeners subscribe on this connection themselves.
    current = client
    const channels = [...listeners.keys()].filter((channel) => !isSharded(channel))
    if (channels.length > 0) yield* Effect.tryPromise(() => client.subscribe(...channels))
    subscribed.openUnsafe()
    notifyResubscribed()
    attempt = 0
    if (away) yield* Effect.logInfo("Redis subscriptions are back")
    away = false
    yield* untilLost(client)
  }).pipe(Effect.scoped, Effect.ignore)

  const sessions = session.pipe(
    Effect.andThen(
      Effect.suspend(() => {
        attempt++
        const log = away ? Effect.void : Effect.logWarning("Redis subscriptions are away")
        away = true
        return Effect.andThen(log, sleepReal(backoff(attempt)))
      })
    ),
    Effect.forever
  )

  /**
   * Each listener subscribes, also the second one of a channel: only the server's answer confirms that messages flow.
   */
  const add = (channel: string, listener: Listener) =>
    Effect.suspend(() => {
      listeners.set(channel, (listeners.get(channel) ?? new Set()).add(listener))
      const client = current
      if (client === undefined) return subscribed.await
      return Effect.tryPromise(() => client.subscribe(channel)).pipe(
        Effect.catch(() => Effect.sync(() => client.disconnect()))
      )
    })

  const remove = (channel: string, listener: Listener) =>
    Effect.sync(() => {
      const others = listeners.get(channel)
      others?.delete(listener)
      if (others === undefined || others.size > 0) return
      listeners.delete(channel)
      current?.unsubscribe(channel).catch(() => current?.disconnect())
    })

  /** Sharded channels share connections, which subscribe to all of the channels when they open. */
  const subscribeSharded = Effect.fnUntraced(function* (channel: string, onMessage: Listener) {
    listeners.set(channel, (listeners.get(channel) ?? new Set()).add(onMessage))
    yield* Effect.addFinalizer(() => Effect.sync(() => listeners.get(channel)?.delete(onMessage)))
    if (!shardsStarted) {
      shardsStarted = true
      const shards = ShardedSubscriber.run({
        options,
        channels: () => [...listeners.keys()].filter(isSharded),
        onMessage: (name, message) => {
          for (const listener of listeners.get(name) ?? []) listener({ channel: name, message })
        },
        onSubscribed: () => {
          shardsSubscribed.openUnsafe()
          notifyResubscribed()
        }
      })
      yield* Effect.forkIn(shards, scope)
    }
    yield* Effect.raceFirst(shardsSubscribed.await, sleepReal(patience))
    return Effect.never
  })

  /** Completes when messages flow; if Redis is away, after a command's deadline, and they flow when Redis is back. */
  const subscribe = Effect.fnUntraced(function* (channel: string, onMessage: Listener) {
    if (isSharded(channel)) return yield* subscribeSharded(channel, onMessage)
    if (!started) {
      started = true
      yield* Effect.forkIn(sessions, scope)
    }
    yield* Effect.addFinalizer(() => remove(channel, onMessage))
    yield* Effect.raceFirst(add(channel, onMessage), sleepReal(patience))
    return Effect.never
  })

  const onResubscribed = (listener: () => void) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => resubscriptionListeners.add(listener)),
        () => Effect.sync(() => resubscriptionListeners.delete(listener))
      )
    )

  return { subscribe, onResubscribed, notifyResubscribed }
})
