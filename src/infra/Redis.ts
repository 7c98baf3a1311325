// Effect's Redis service over ioredis: one connection for commands (pipelined by themselves), one for subscriptions, and
// dedicated ones for blocking commands. An absent Redis neither stops the start nor holds anybody up: commands fail at
// once while there is no connection, within their deadline while there is one, and it reconnects for ever.
//
// A command that timed out may have been applied all the same: writes must be safe to repeat. A wedged server (it accepts,
// and never answers) would make every command wait out its deadline: after some in a row the connection is torn down, and
// commands fail at once until a new one answers.
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import { Redis as Client, Cluster } from "ioredis"
import { spanIfSampled } from "../observability/Tracing.ts"
import { RedisState } from "./RedisState.ts"

export interface RedisOptions {
  /** `redis://…`, `rediss://…` (TLS); several, comma-separated: a Cluster. */
  readonly url: Redacted.Redacted
  readonly commandTimeout: Duration.Duration
  /** Commands not settled yet; beyond it a command fails at once. */
  readonly maxInFlight: number
  /** A certificate authority to trust besides the system's. */
  readonly ca?: string
}

const timeoutsInARow = 5
const { RedisError } = EffectRedis

const clientOptions = (options: RedisOptions) => ({
  lazyConnect: true,
  enableOfflineQueue: false,
  enableAutoPipelining: true,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  commandTimeout: Duration.toMillis(options.commandTimeout),
  connectTimeout: 2000,
  // Instances that lost the same server don't come back in step.
  retryStrategy: (times: number): number | null =>
    Math.min(50 * 2 ** Math.min(times, 5), 1000) * (0.5 + Math.random() / 2),
  reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
  ...(options.ca !== undefined && { tls: { ca: options.ca } })
})

type AnyClient = Client | Cluster
type More = Partial<{
  readonly enableOfflineQueue: boolean
  readonly maxRetriesPerRequest: number | null
  readonly commandTimeout: number
  readonly retryStrategy: () => null
}>

const makeClient = (options: RedisOptions, more: More = {}): AnyClient => {
  const urls = Redacted.value(options.url)
    .split(",")
    .map((url) => url.trim())
  const settings = { ...clientOptions(options), ...more }
  const { commandTimeout, connectTimeout, maxRetriesPerRequest } = settings
  const [first = ""] = urls
  if (urls.length === 1) return new Client(first, settings)
  return new Cluster(urls, {
    lazyConnect: true,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    slotsRefreshTimeout: 2000,
    clusterRetryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 5), 1000),
    redisOptions: {
      commandTimeout,
      connectTimeout,
      maxRetriesPerRequest,
      ...(first.startsWith("rediss:") && { tls: options.ca === undefined ? {} : { ca: options.ca } })
    }
  })
}

/** Opens a connection in the background, closes it within a deadline, and says once when it is lost and back. */
const open = (options: RedisOptions, name: string, more?: More) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const client = makeClient(options, more)
      let away = false
      client.on("error", (error: Error) => {
        if (!away) run(Effect.logWarning("Redis is away", { connection: name, reason: error.message }))
        away = true
      })
      client.on("ready", () => {
        if (away) run(Effect.logInfo("Redis is there", { connection: name }))
        away = false
      })
      client.connect().catch(() => {})
      return client
    }),
    (client) =>
      Effect.tryPromise(() => client.quit()).pipe(
        Effect.timeoutOption("500 millis"),
        Effect.ignore,
        Effect.andThen(Effect.sync(() => client.disconnect()))
      )
  )

const isTimeout = (error: unknown) => error instanceof Error && error.message === "Command timed out"

export const layer = (options: RedisOptions) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const client = yield* open(options, "commands")
      let inFlight = 0
      let timeouts = 0

      const settled = (error: unknown) => {
        inFlight--
        timeouts = isTimeout(error) ? timeouts + 1 : error === undefined ? 0 : timeouts
        if (timeouts >= timeoutsInARow) {
          timeouts = 0
          if (client instanceof Cluster) for (const node of client.nodes("all")) node.disconnect(true)
          else client.disconnect(true)
        }
      }

      // Settles in its own time when the caller has left: the slot in flight is the command's, not the caller's.
      const command = <A>(name: string, args: ReadonlyArray<string>) =>
        Effect.callback<A, EffectRedis.RedisError>((resume) => {
          if (inFlight >= options.maxInFlight) {
            return resume(Effect.fail(new RedisError({ cause: new Error("too many Redis commands in flight") })))
          }
          inFlight++
          client.call(name, ...args).then(
            (value) => {
              settled(undefined)
              resume(Effect.succeed(value as A))
            },
            (cause: unknown) => {
              settled(cause)
              resume(Effect.fail(new RedisError({ cause })))
            }
          )
        })

      const send = <A = unknown>(name: string, ...args: ReadonlyArray<string>) =>
        spanIfSampled(`redis ${name}`, { kind: "client", attributes: { "db.system.name": "redis" } })(
          command<A>(name, args)
        )

      // Subscriptions share one connection, made when there is a first one.
      const listeners = new Map<string, Set<(message: EffectRedis.RedisMessage) => void>>()
      const subscriber = yield* open(options, "subscriptions", {
        enableOfflineQueue: true,
        maxRetriesPerRequest: null,
        commandTimeout: 60_000
      })
      subscriber.on("message", (channel: string, message: string) => {
        for (const listener of listeners.get(channel) ?? []) listener({ channel, message })
      })
      const subscribe = (channel: string, onMessage: (message: EffectRedis.RedisMessage) => void) =>
        Effect.acquireRelease(
          Effect.gen(function* () {
            const known = listeners.get(channel) ?? new Set()
            listeners.set(channel, known.add(onMessage))
            if (known.size === 1) {
              yield* Effect.tryPromise({
                try: () => subscriber.subscribe(channel),
                catch: (cause) => new RedisError({ cause })
              })
            }
            return Effect.never
          }),
          () =>
            Effect.suspend(() => {
              const known = listeners.get(channel)
              known?.delete(onMessage)
              if (known === undefined || known.size > 0) return Effect.void
              listeners.delete(channel)
              return Effect.ignore(Effect.tryPromise(() => subscriber.unsubscribe(channel)))
            })
        )

      const connect = Effect.gen(function* () {
        const dedicated = makeClient(options, { commandTimeout: 60_000, retryStrategy: () => null })
        dedicated.on("error", () => {})
        yield* Effect.tryPromise({ try: () => dedicated.connect(), catch: (cause) => new RedisError({ cause }) })
        return {
          send: <A = unknown>(name: string, ...args: ReadonlyArray<string>) =>
            Effect.tryPromise({
              try: () => dedicated.call(name, ...args) as Promise<A>,
              catch: (cause) => new RedisError({ cause })
            }),
          close: Effect.sync(() => dedicated.disconnect())
        }
      })

      const redis = yield* EffectRedis.make({ send, subscribe, connect })
      return Context.make(EffectRedis.Redis, redis).pipe(
        Context.add(RedisState, { kind: "server", check: Effect.asVoid(send("PING")) })
      )
    })
  )
