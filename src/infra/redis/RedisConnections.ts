// Makes ioredis clients for one server or a Cluster, and closes them within a deadline. No command waits in a queue
// while a server is away, no command is sent twice, and reconnects are spread out.
import { Duration, Effect, Redacted } from "effect"
import { Redis as Client, type RedisOptions as ClientOptions, Cluster, type ClusterOptions } from "ioredis"

export interface RedisOptions {
  /** `redis://…`, `rediss://…` (TLS); several, comma-separated: a Cluster. */
  readonly url: Redacted.Redacted
  /** The deadline of one command. */
  readonly commandTimeout: Duration.Duration
  /** Commands in flight at a time; beyond it a command fails at once. */
  readonly maxInFlight: number
  /** The first word of keys and channels; `hotpath` if missing. */
  readonly prefix?: string
  /** A certificate authority to trust instead of the system's. */
  readonly tls?: { readonly ca?: string }
}

export type AnyClient = Client | Cluster

/** Milliseconds before an attempt (from 1): capped, and spread so that instances don't reconnect in step. */
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
  // RESP2: every server replies in the same shape, and there is no HELLO.
  protocol: 2 as const,
  // Redis.ts keeps the caller's deadline. This one is twice as long: it bounds the handshake, and settles commands that
  // a wedged server never answers.
  commandTimeout: 2 * Duration.toMillis(options.commandTimeout),
  connectTimeout: 2000,
  // Don't wait for a server that does not answer a FIN.
  disconnectTimeout: 0,
  maxLoadingRetryTime: 500,
  autoResendUnfulfilledCommands: false,
  // ioredis leaves its rejections unhandled; RedisSubscriber.ts resubscribes.
  autoResubscribe: false,
  ...(url.startsWith("rediss:") && { tls: { ...options.tls } })
})

/** A connection to one server. It does not reconnect; when it is lost its commands fail. */
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
  // Nodes that the Cluster names later have no URL with credentials.
  const { username, password } = new URL(first)
  return new Cluster([...urls], {
    lazyConnect: true,
    enableOfflineQueue: false,
    // A lost connection may have carried the command: only the caller can know whether to repeat it.
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

/**
 * The client of all commands. It reconnects for ever; to a single server it pipelines the commands of one event loop
 * turn.
 */
export const makeShared = (options: RedisOptions): AnyClient => {
  const urls = endpoints(options)
  const [first = ""] = urls
  if (urls.length > 1) {
    // Not pipelined: in a Cluster's pipeline a command with keys of several slots fails its neighbours, and a command
    // without its key ends the process.
    return makeCluster(options, urls, { clusterRetryStrategy: backoff })
  }
  return makeSingle(options, first, {
    enableAutoPipelining: true,
    retryStrategy: backoff,
    // After a failover this is the replica: resolve the address again.
    reconnectOnError: (error) => error.message.startsWith("READONLY")
  })
}

/** A separate connection for blocking commands: it does not reconnect, and its commands have no deadline. */
export const makeDedicated = (options: RedisOptions): AnyClient => {
  const urls = endpoints(options)
  const [first = ""] = urls
  return urls.length > 1
    ? makeCluster(options, urls, { clusterRetryStrategy: () => null }, { commandTimeout: undefined })
    : makeSingle(options, first, { commandTimeout: undefined })
}

export const masters = (client: AnyClient): ReadonlyArray<Client> =>
  client instanceof Cluster ? client.nodes("master") : [client]

/** Abandons the present connection of a client that reconnects: commands in flight fail. */
export const abandon = (client: AnyClient): void => {
  if (client.status !== "ready") return
  if (client instanceof Cluster) for (const node of client.nodes("all")) node.disconnect(true)
  else client.disconnect(true)
}

/**
 * Closes after the commands in flight, or half a second. By the machine's clock, since a test's clock may stand still.
 */
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
