// Sharded subscriptions on a Redis Cluster: the node that owns a channel's slot delivers its messages, so there is one
// connection to each of these nodes. When one is lost, or a slot moves, all connections are replaced, after the nodes
// were looked up again. The subscriber is notified of the gap.
import { Effect } from "effect"
import type { Redis as Client } from "ioredis"
import { backoff, endpoints, makeSingle, type RedisOptions } from "./RedisConnections.ts"

interface Shards {
  readonly options: RedisOptions
  readonly channels: () => ReadonlyArray<string>
  readonly onMessage: (channel: string, message: string) => void
  /** Called when every channel is subscribed. */
  readonly onSubscribed: () => void
}

/** How often nodes are probed and slots are compared: a node may die silently. */
const checkMs = 5000

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

/** Connects, subscribes, and settles when a connection is lost or a slot moved. Leaves no connection open. */
const session = async (
  { channels, onMessage, onSubscribed, options }: Shards,
  seedUrl: string,
  signal: AbortSignal
) => {
  const clients: Array<Client> = []
  const open = async (url: string) => {
    const client = makeSingle(options, url)
    client.on("error", () => {})
    clients.push(client)
    await client.connect()
    return client
  }
  let check: NodeJS.Timeout | undefined
  try {
    const seed = await open(seedUrl)
    const wanted = channels()
    const nodes = await nodesOf(seed, wanted)
    const lost = Promise.withResolvers<void>()
    signal.addEventListener("abort", () => lost.resolve())
    seed.once("end", () => lost.resolve())
    for (const node of new Set(nodes.values())) {
      const client = await open(addressed(seedUrl, node))
      client.once("end", () => lost.resolve())
      client.on("smessage", onMessage)
      // The slot moved.
      client.on("sunsubscribe", () => lost.resolve())
      for (const channel of wanted) if (nodes.get(channel) === node) await client.ssubscribe(channel)
    }
    onSubscribed()
    check = setInterval(() => {
      const asked = Promise.all([
        nodesOf(seed, channels()).then((now) => (isSame(now, nodes) ? undefined : lost.resolve())),
        ...clients.slice(1).map((client) => client.ping())
      ])
      asked.catch(() => lost.resolve())
    }, checkMs)
    await lost.promise
  } finally {
    clearInterval(check)
    for (const client of clients) client.disconnect()
  }
}

/** Stays subscribed for ever. */
export const run = (shards: Shards): Effect.Effect<never> => {
  const seeds = endpoints(shards.options)
  let attempt = 0
  let away = false
  const subscribed = () => {
    attempt = 0
    shards.onSubscribed()
  }
  return Effect.promise((signal) =>
    session({ ...shards, onSubscribed: subscribed }, seeds[attempt % seeds.length] ?? "", signal).catch(() => {})
  ).pipe(
    Effect.andThen(
      Effect.suspend(() => {
        const log = away ? Effect.void : Effect.logWarning("the subscriptions of the Redis Cluster are opened again")
        away = attempt > 0
        return Effect.andThen(log, Effect.sleep(backoff(++attempt)))
      })
    ),
    Effect.forever
  )
}
