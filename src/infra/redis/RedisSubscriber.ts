// The subscriptions of an instance: one connection for all plain channels, opened with the first of them. On a Redis
// Cluster sharded channels (those whose name begins with a hash tag) are delivered by the node that owns their slot, so
// there is one connection to each of these nodes. When a connection is lost or silent, or a slot moves, new connections
// subscribe to all channels again, after the nodes were looked up again.
//
// Redis does not report messages that were published in between, so a subscriber numbers its messages or re-reads.
// Messages of one channel arrive in the order in which they were published.
import { Deferred, Duration, Effect, Latch, type Scope } from "effect"
import type { Redis } from "effect/persistence"
import type { Redis as Client } from "ioredis"
import { makeListeners } from "../Listeners.ts"
import { backoff, endpoints, makeSingle, type RedisOptions } from "./RedisConnections.ts"

type Listener = (message: Redis.RedisMessage) => void
/** `subscribed` runs when all channels are subscribed. Completes or fails when a connection is lost or a slot moved. */
type Session = (url: string, subscribed: Effect.Effect<void>) => Effect.Effect<void, unknown, Scope.Scope>

/** How often connections are probed and slots are compared: a connection or a node may die silently. */
const probeMs = 5000

/** By the machine's clock: a test's clock may stand still while Redis does not. */
const sleepReal = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

/** Ends when a connection is lost, or a probe fails. */
const untilLost = (clients: ReadonlyArray<Client>, probe: () => Promise<unknown>) =>
  Effect.raceFirst(
    Effect.callback<void>((resume) => {
      const end = () => resume(Effect.void)
      for (const client of clients) client.once("end", end)
      if (clients.some(({ status }) => status === "end")) end()
    }),
    Effect.forever(Effect.andThen(sleepReal(probeMs), Effect.tryPromise(probe)))
  )

type SlotRange = readonly [from: number, to: number, master: readonly [host: string, port: number]]

/** The address of the node that serves each channel. */
const nodesOf = async (seed: Client, channels: ReadonlyArray<string>): Promise<ReadonlyMap<string, string>> => {
  const ranges = (await seed.call("CLUSTER", "SLOTS")) as ReadonlyArray<SlotRange>
  const slots = (await Promise.all(
    channels.map((channel) => seed.call("CLUSTER", "KEYSLOT", channel))
  )) as Array<number>
  return new Map(
    channels.map((channel, n) => {
      const slot = slots[n] ?? -1
      const range = ranges.find(([from, to]) => from <= slot && slot <= to)
      if (range === undefined) throw new Error("no node serves the slot")
      const [, , [host, port]] = range
      // A node that does not know its own address leaves it empty: it is the one that was asked.
      return [channel, `${host === "" ? (seed.options.host ?? "127.0.0.1") : host}:${port}`]
    })
  )
}

const isSame = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>) =>
  a.size === b.size && [...a].every(([channel, node]) => b.get(channel) === node)

const addressed = (seedUrl: string, node: string): string => {
  const url = new URL(seedUrl)
  const [host = "", port = ""] = [node.slice(0, node.lastIndexOf(":")), node.slice(node.lastIndexOf(":") + 1)]
  url.hostname = host.includes(":") ? `[${host}]` : host
  url.port = port
  return url.href
}

export const make = Effect.fnUntraced(function* (options: RedisOptions) {
  const scope = yield* Effect.scope
  const urls = endpoints(options)
  const patience = Duration.toMillis(options.commandTimeout)
  const listeners = new Map<string, Set<Listener>>()
  const resubscribed = makeListeners()
  const isSharded = (channel: string) => urls.length > 1 && channel.startsWith("{")
  const channelsOf = (sharded: boolean) => [...listeners.keys()].filter((channel) => isSharded(channel) === sharded)
  const deliver = (channel: string, message: string) => {
    for (const listener of listeners.get(channel) ?? []) listener({ channel, message })
  }

  const open = Effect.fnUntraced(function* (url: string) {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => makeSingle(options, url)),
      (opened) => Effect.sync(() => opened.disconnect())
    )
    client.on("error", () => {})
    yield* Effect.tryPromise(() => client.connect())
    return client
  })

  /** The connection of plain channels. */
  let current: Client | undefined
  const plainSession: Session = Effect.fnUntraced(function* (url, subscribed) {
    const client = yield* open(url)
    client.on("message", deliver)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        current = undefined
      })
    )
    // From here on new listeners subscribe on this connection themselves.
    current = client
    const channels = channelsOf(false)
    if (channels.length > 0) yield* Effect.tryPromise(() => client.subscribe(...channels))
    yield* subscribed
    yield* untilLost([client], () => client.ping())
  })

  const shardedSession: Session = Effect.fnUntraced(function* (url, subscribed) {
    const seed = yield* open(url)
    const wanted = channelsOf(true)
    const nodes = yield* Effect.tryPromise(() => nodesOf(seed, wanted))
    const clients: Array<Client> = []
    for (const node of new Set(nodes.values())) {
      const client = yield* open(addressed(url, node))
      clients.push(client)
      client.on("smessage", deliver)
      // The slot moved.
      client.on("sunsubscribe", () => client.disconnect())
      for (const channel of wanted) {
        if (nodes.get(channel) === node) yield* Effect.tryPromise(() => client.ssubscribe(channel))
      }
    }
    yield* subscribed
    yield* untilLost([seed, ...clients], async () => {
      const [now] = await Promise.all([nodesOf(seed, channelsOf(true)), ...clients.map((client) => client.ping())])
      if (!isSame(now, nodes)) throw new Error("a slot moved")
    })
  })

  /** `start` runs sessions until the scope ends, after pauses that grow until one of them subscribed. */
  const makeSessions = Effect.fnUntraced(function* (
    session: Session,
    texts: { readonly away: string; readonly back: string }
  ) {
    const flows = Latch.makeUnsafe(false)
    let attempt = 0
    let isAway = false
    const subscribed = Effect.suspend(() => {
      const log = isAway ? Effect.logInfo(texts.back) : Effect.void
      attempt = 0
      isAway = false
      flows.openUnsafe()
      resubscribed.notify()
      return log
    })
    const pause = Effect.suspend(() => {
      const log = isAway ? Effect.void : Effect.logWarning(texts.away)
      isAway = true
      flows.closeUnsafe()
      return Effect.andThen(log, sleepReal(backoff(++attempt)))
    })
    const sessions = Effect.suspend(() => session(urls[attempt % urls.length] ?? "", subscribed)).pipe(
      Effect.scoped,
      Effect.ignore,
      // One throwing listener must not end the subscriptions of all.
      Effect.catchDefect((defect) => Effect.logError("a Redis subscription met a defect, and is opened again", defect)),
      Effect.andThen(pause),
      Effect.forever
    )
    return { start: yield* Effect.cached(Effect.forkIn(sessions, scope)), flows }
  })
  const plain = yield* makeSessions(plainSession, {
    away: "Redis subscriptions are away",
    back: "Redis subscriptions are back"
  })
  const sharded = yield* makeSessions(shardedSession, {
    away: "the subscriptions of the Redis Cluster are opened again",
    back: "the subscriptions of the Redis Cluster are back"
  })

  /**
   * Each listener subscribes, also the second one of a channel: only the server's answer confirms that messages flow.
   */
  const confirmed = (channel: string) =>
    Effect.suspend(() => {
      const client = current
      if (client === undefined) return plain.flows.await
      return Effect.catch(
        Effect.tryPromise(() => client.subscribe(channel)),
        () => Effect.sync(() => client.disconnect())
      )
    })

  const remove = (channel: string, listener: Listener) =>
    Effect.sync(() => {
      const others = listeners.get(channel)
      others?.delete(listener)
      // A sharded channel stays subscribed: its connections are shared, and are replaced when their channels change.
      if (others === undefined || others.size > 0 || isSharded(channel)) return
      listeners.delete(channel)
      current?.unsubscribe(channel).catch(() => current?.disconnect())
    })

  /**
   * Completes when messages flow; if Redis is away or slow, after a command's deadline. When they flow then,
   * `resubscribed` says so.
   */
  const subscribe = Effect.fnUntraced(function* (channel: string, onMessage: Listener) {
    listeners.set(channel, (listeners.get(channel) ?? new Set()).add(onMessage))
    yield* Effect.addFinalizer(() => remove(channel, onMessage))
    const { flows, start } = isSharded(channel) ? sharded : plain
    yield* start
    const flowing = yield* Deferred.make<void>()
    let isLate = false
    const begun = Effect.map(isSharded(channel) ? flows.await : confirmed(channel), () => {
      Deferred.doneUnsafe(flowing, Effect.void)
      if (isLate) resubscribed.notify()
    })
    yield* Effect.forkIn(begun, scope, { startImmediately: true })
    const late = Effect.map(sleepReal(patience), () => {
      isLate = true
    })
    yield* Effect.raceFirst(Deferred.await(flowing), late)
    return Effect.never
  })

  return { subscribe, resubscribed }
})
