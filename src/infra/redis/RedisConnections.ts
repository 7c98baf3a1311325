// Makes ioredis clients from our options, for one server or a Cluster, and closes them within a deadline. Nothing waits
// in a queue while a server is away, nothing is sent twice, and every reconnect is spread out.
import { Duration, Effect, Redacted } from "effect"
import { Redis as Client, type RedisOptions as ClientOptions, Cluster, type ClusterOptions } from "ioredis"

export interface RedisOptions {
  /** `redis://…`, `rediss://…` (TLS); several, comma-separated: a Cluster. */
  readonly url: Redacted.Redacted
  /** The deadline of one command. */
  readonly commandTimeout: Duration.Duration
  /** Commands that may be on their way at a time; beyond it a command fails at once. */
  readonly maxInFlight: number
  /** What keys and channels begin with; else `hotpath`. */
  readonly prefix?: string
  /** A certificate authority to trust instead of the system's. */
  readonly tls?: { readonly ca?: string }
}

export type AnyClient = Client | Cluster

/** Milliseconds to wait before the attempt (from 1): capped, and spread so that instances don't come back in step. */
export const backoff = (attempt: number): number =>
  Math.min(25 * 2 ** Math.min(attempt, 6), 1000) * (0.5 + Math.random())

export const endpoints = (options: RedisOptions): ReadonlyArray<string> =>
  Redacted.value(options.url)
    .split(",")
    .map((url) => url.trim())

type Own = Pick<ClientOptions, "commandTimeout" | "enableAutoPipelining" | "retryStrategy" | "reconnectOnError">

const common = (options: RedisOptions, url: string) => ({
  lazyConnect: true,
  connectionName: "hotpath",
  disableClientInfo: true,
  // The same shape of reply from every server, and no HELLO.
  protocol: 2 as const,
  // Twice the caller's deadline (Redis.ts keeps that one): this one bounds the handshake, and settles what a wedged
  // server never answers.
  commandTimeout: 2 * Duration.toMillis(options.commandTimeout),
  connectTimeout: 2000,
  // A server that does not answer a FIN is left at once.
  disconnectTimeout: 0,
  maxLoadingRetryTime: 500,
  autoResendUnfulfilledCommands: false,
  // Its re-subscription leaves rejections unhandled; RedisSubscriber.ts does it.
  autoResubscribe: false,
  ...(url.startsWith("rediss:") && { tls: { ...options.tls } })
})

/** A connection to one server that ends when it is lost; its commands fail then. */
export const makeSingle = (options: RedisOptions, url: string, more: Own = {}): Client =>
  new Client(url, {
    ...common(options, url),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    ...more
  })

const makeCluster = (
  options: RedisOptions,
  urls: ReadonlyArray<string>,
  more: Omit<ClusterOptions, "redisOptions">,
  each: Pick<Own, "commandTimeout"> = {}
): Cluster => {
  const [first = ""] = urls
  // Nodes that the cluster names later have no URL to take these from.
  const { username, password } = new URL(first)
  return new Cluster([...urls], {
    lazyConnect: true,
    enableOfflineQueue: false,
    // A connection that was lost may have carried the command: failing is the caller's to judge, repeating is not ours.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    slotsRefreshTimeout: 2000,
    slotsRefreshInterval: 10_000,
    redisOptions: {
      ...common(options, first),
      ...(username !== "" && { username: decodeURIComponent(username) }),
      ...(password !== "" && { password: decodeURIComponent(password) }),
      ...each
    },
    ...more
  })
}

/** The client of all commands: it reconnects for ever; to one server it sends what one turn of the event loop brought at once. */
export const makeShared = (options: RedisOptions): AnyClient => {
  const urls = endpoints(options)
  const [first = ""] = urls
  if (urls.length > 1) {
    // Not pipelined: in a Cluster's pipeline one command with keys of several slots fails its neighbours, and one without
    // its key ends the process.
    return makeCluster(options, urls, { clusterRetryStrategy: backoff })
  }
  return makeSingle(options, first, {
    enableAutoPipelining: true,
    retryStrategy: backoff,
    // A failover left us with the replica: ask the address again.
    reconnectOnError: (error) => error.message.startsWith("READONLY")
  })
}

/** A connection of its own, for commands that block: it does not reconnect, and its commands have no deadline. */
export const makeDedicated = (options: RedisOptions): AnyClient => {
  const urls = endpoints(options)
  const [first = ""] = urls
  return urls.length > 1
    ? makeCluster(options, urls, { clusterRetryStrategy: () => null }, { commandTimeout: undefined })
    : makeSingle(options, first, { commandTimeout: undefined })
}

export const masters = (client: AnyClient): ReadonlyArray<Client> =>
  client instanceof Cluster ? client.nodes("master") : [client]

/** Gives up on the present connection of a client that reconnects: what is on its way fails. */
export const abandon = (client: AnyClient): void => {
  if (client.status !== "ready") return
  if (client instanceof Cluster) for (const node of client.nodes("all")) node.disconnect(true)
  else client.disconnect(true)
}

/** Lets what is on its way end, within half a second, then closes. By the machine's clock: a test's may stand still. */
export const close = (client: AnyClient): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const done = () => {
      clearTimeout(timer)
      client.disconnect()
      resume(Effect.void)
    }
    const timer = setTimeout(done, 500)
    client.quit().then(done, done)
  })
