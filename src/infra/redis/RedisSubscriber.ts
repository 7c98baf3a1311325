// One subscriber connection for all channels of an instance, opened with the first subscription. It is replaced for ever
// when it is lost or silent, and subscribes again to everything: what was published in between is a gap that nobody
// reports, so a subscriber counts its messages (or re-reads). Messages of one channel arrive in the order published.
import { Duration, Effect, Latch } from "effect"
import type { Redis } from "effect/persistence"
import type { Redis as Client } from "ioredis"
import { backoff, endpoints, makeSingle, type RedisOptions } from "./RedisConnections.ts"
import * as RedisShards from "./ShardedSubscriber.ts"

type Listener = (message: Redis.RedisMessage) => void

/** Asked this often, a connection that died without a word is found out. */
const heartbeat = 5000

const live = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

/** Ends when the connection has; it ends the connection when it does not answer. */
const untilLost = (client: Client): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const beat = setInterval(() => client.ping().catch(() => client.disconnect()), heartbeat)
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
  const returns = new Set<() => void>()
  const isCluster = urls.length > 1
  const isSharded = (channel: string) => isCluster && channel.startsWith("{")
  const shardsThere = Latch.makeUnsafe(false)
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
    // From here on a new listener subscribes for itself, on this connection.
    current = client
    const known = [...listeners.keys()].filter((channel) => !isSharded(channel))
    if (known.length > 0) yield* Effect.tryPromise(() => client.subscribe(...known))
    subscribed.openUnsafe()
    for (const told of returns) told()
    attempt = 0
    if (away) yield* Effect.logInfo("Redis subscriptions are there")
    away = false
    yield* untilLost(client)
  }).pipe(Effect.scoped, Effect.ignore)

  const sessions = session.pipe(
    Effect.andThen(
      Effect.suspend(() => {
        attempt++
        const log = away ? Effect.void : Effect.logWarning("Redis subscriptions are away")
        away = true
        return Effect.andThen(log, live(backoff(attempt)))
      })
    ),
    Effect.forever
  )

  /** Every listener subscribes, the channel's second too: only the server's answer says that messages flow. */
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
      const known = listeners.get(channel)
      known?.delete(listener)
      if (known === undefined || known.size > 0) return
      listeners.delete(channel)
      current?.unsubscribe(channel).catch(() => current?.disconnect())
    })

  /** Sharded channels have connections in common: those that are wanted when these open are asked for together. */
  const subscribeSharded = Effect.fnUntraced(function* (channel: string, onMessage: Listener) {
    listeners.set(channel, (listeners.get(channel) ?? new Set()).add(onMessage))
    yield* Effect.addFinalizer(() => Effect.sync(() => listeners.get(channel)?.delete(onMessage)))
    if (!shardsStarted) {
      shardsStarted = true
      const shards = RedisShards.run({
        options,
        channels: () => [...listeners.keys()].filter(isSharded),
        onMessage: (name, message) => {
          for (const listener of listeners.get(name) ?? []) listener({ channel: name, message })
        },
        onSubscribed: () => {
          shardsThere.openUnsafe()
          for (const told of returns) told()
        }
      })
      yield* Effect.forkIn(shards, scope)
    }
    yield* Effect.raceFirst(shardsThere.await, live(patience))
    return Effect.never
  })

  /** Returns when messages flow; when Redis is away, after a command's deadline: they flow once it is back. */
  const subscribe = Effect.fnUntraced(function* (channel: string, onMessage: Listener) {
    if (isSharded(channel)) return yield* subscribeSharded(channel, onMessage)
    if (!started) {
      started = true
      yield* Effect.forkIn(sessions, scope)
    }
    yield* Effect.addFinalizer(() => remove(channel, onMessage))
    yield* Effect.raceFirst(add(channel, onMessage), live(patience))
    return Effect.never
  })

  const onResubscribed = (listener: () => void) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => returns.add(listener)),
        () => Effect.sync(() => returns.delete(listener))
      )
    )

  /** As if the subscriptions had been away: something else kept what was published from being heard. */
  const resubscribed = () => {
    for (const told of returns) told()
  }

  return { subscribe, onResubscribed, resubscribed }
})
