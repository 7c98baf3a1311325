// Effect's Redis service over ioredis. A Redis that is away delays nothing: the connection is opened in the background,
// again and again (a Redis that refuses this service stops the start). Without a connection a command fails at once,
// with one it fails within its deadline. A failed command may have been applied all the same, so writes must be safe to
// repeat.
//
// A wedged server accepts commands and never answers, so that each would wait for its deadline. After several
// unanswered commands in a row the connection is abandoned, and commands fail at once until a new connection answers.
// Only silence counts: a deadline that passed while other commands were answered, or while this process was too busy to
// read, says nothing about the server.
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import { Cluster, Command } from "ioredis"
import { spanIfSampled } from "../../observability/Tracing.ts"
import { StoreMisconfigured, withoutSecrets } from "../StoreFault.ts"
import { type AnyClient, abandon, endpoints, makeDedicated, type RedisOptions } from "./RedisConnections.ts"
import { RedisHealth } from "./RedisHealth.ts"
import { makeRedisNamespace, type RedisNamespace } from "./RedisNamespace.ts"
import { openShared } from "./RedisShared.ts"
import * as RedisSubscriber from "./RedisSubscriber.ts"
import { isRefusal, NotSent } from "./RedisUnavailable.ts"

export type { RedisOptions } from "./RedisConnections.ts"

const { RedisError } = EffectRedis
type Send = EffectRedis.Redis["Service"]["send"]

const unansweredInARow = 5

const failure = (message: string) => new RedisError({ cause: new Error(message) })
const away = Effect.fail(new RedisError({ cause: new NotSent("Redis is away") }))
const fenced = Effect.fail(new RedisError({ cause: new NotSent("this Redis is not the one of the other instances") }))
const tooMany = Effect.fail(new RedisError({ cause: new NotSent("too many Redis commands in flight") }))
const unanswered = Effect.fail(failure("Redis did not answer in time"))

// These change the state of a connection, and all callers share one.
const connectionCommands = new Set(
  "AUTH,EXEC,DISCARD,HELLO,MONITOR,MULTI,PSUBSCRIBE,PUNSUBSCRIBE,QUIT,RESET,SELECT,SSUBSCRIBE,SUBSCRIBE,SUNSUBSCRIBE,UNSUBSCRIBE,UNWATCH,WATCH".split(
    ","
  )
)

/**
 * An async function for a Cluster, whose own errors (a slot without a node) are thrown. A command that was begun before
 * that times out later. Its promise has no other reader, and an unhandled rejection would end the process. Each master
 * must know a script.
 */
const caller = (client: AnyClient, names: RedisNamespace) => {
  if (!(client instanceof Cluster)) {
    return (name: string, args: ReadonlyArray<string>): Promise<unknown> => client.call(name, ...names.args(name, args))
  }
  return async (name: string, args: ReadonlyArray<string>): Promise<unknown> => {
    if (name !== "SCRIPT") {
      const command = new Command(name, [...names.args(name, args)], { replyEncoding: "utf8" })
      command.promise.catch(() => {})
      return client.sendCommand(command)
    }
    const [answer] = await Promise.all(client.nodes("master").map((node) => node.call(name, ...args)))
    return answer
  }
}

const makeSend = (client: AnyClient, options: RedisOptions, names: RedisNamespace): Send => {
  const call = caller(client, names)
  const deadline = Duration.toMillis(options.commandTimeout)
  let inFlight = 0
  let unansweredNow = 0
  let answeredAt = Number.NEGATIVE_INFINITY
  let abandonedAt = Number.NEGATIVE_INFINITY
  const answered = () => {
    unansweredNow = 0
    answeredAt = performance.now()
  }
  // A timer that fires later than this means that the process was busy.
  const onTimeMs = deadline / 4

  // The slot in flight belongs to the command, not to its caller: it is free when ioredis has settled the command, even
  // if the caller was interrupted before.
  const command = <A>(name: string, args: ReadonlyArray<string>) =>
    Effect.callback<A, EffectRedis.RedisError>((resume) => {
      if (client.status !== "ready") return resume(away)
      if (inFlight >= options.maxInFlight) return resume(tooMany)
      inFlight++
      let settled = false
      const sentAt = performance.now()
      const late = (firedAt: number) => {
        if (settled) return
        resume(unanswered)
        if (firedAt - answeredAt < deadline || firedAt - sentAt > deadline + onTimeMs) return
        // A command of an abandoned connection says nothing about the next one.
        if (sentAt <= abandonedAt || ++unansweredNow < unansweredInARow) return
        abandonedAt = performance.now()
        unansweredNow = 0
        abandon(client)
      }
      // An answer may wait in the socket because this process was busy; it is read before setImmediate.
      const timer = setTimeout(() => setImmediate(late, performance.now()), deadline)
      const settle = () => {
        settled = true
        inFlight--
        clearTimeout(timer)
      }
      call(name, args).then(
        (value) => {
          settle()
          answered()
          resume(Effect.succeed(value as A))
        },
        (cause: unknown) => {
          settle()
          // An error reply is an answer too.
          if (isRefusal(cause)) answered()
          resume(Effect.fail(new RedisError({ cause })))
        }
      )
    })

  // By command name; bounded, because names are constants of this program.
  const commands = new Map<string, { readonly name: string; readonly spanned: ReturnType<typeof spanIfSampled> }>()
  const named = (given: string) => {
    const name = given.toUpperCase()
    const made = {
      name,
      spanned: spanIfSampled(`redis ${name}`, { kind: "client", attributes: { "db.system.name": "redis" } })
    }
    commands.set(given, made)
    return made
  }

  return <A = unknown>(given: string, ...args: ReadonlyArray<string>) => {
    const { name, spanned } = commands.get(given) ?? named(given)
    return connectionCommands.has(name)
      ? Effect.fail(failure(`${name} needs a connection of its own: reserve one`))
      : spanned(command<A>(name, args))
  }
}

/** Blocking commands have no deadline here; other commands have the usual one. */
const openDedicated = (options: RedisOptions, names: RedisNamespace) =>
  Effect.suspend(() => {
    const client = makeDedicated(options)
    client.on("error", () => {})
    const call = caller(client, names)
    const closed = Effect.sync(() => client.disconnect())
    const withDeadline = Effect.timeoutOrElse({ duration: options.commandTimeout, orElse: () => unanswered })
    const send: Send = <A = unknown>(given: string, ...args: ReadonlyArray<string>) => {
      const name = given.toUpperCase()
      const effect = Effect.tryPromise({
        try: () => call(name, args) as Promise<A>,
        catch: (cause) => new RedisError({ cause })
      })
      return Command.checkFlag("BLOCKING_COMMANDS", name) ? effect : withDeadline(effect)
    }
    return Effect.tryPromise({ try: () => client.connect(), catch: (cause) => new RedisError({ cause }) }).pipe(
      withDeadline,
      Effect.onError(() => closed),
      Effect.as({ send, close: closed })
    )
  })

export const layer = (options: RedisOptions): Layer.Layer<EffectRedis.Redis | RedisHealth, StoreMisconfigured> =>
  Layer.effectContext(
    Effect.gen(function* () {
      // The error of URL would show the password.
      if (!endpoints(options).every((url) => URL.canParse(url)))
        return yield* Effect.die("the Redis URL does not parse")
      const { client, health, outcome, reconnected } = yield* openShared(options)
      const first = yield* outcome
      if (first.state === "misconfigured") {
        const url = withoutSecrets(Redacted.value(options.url))
        return yield* new StoreMisconfigured({ setting: "REDIS_URL", url, reason: first.reason })
      }
      const names = makeRedisNamespace(options.prefix)
      const unfenced = makeSend(client, options, names)
      let isFenced = false
      // Checked when the command runs, because an effect may be made before the fence changes.
      const send: Send = (name, ...args) => Effect.suspend(() => (isFenced ? fenced : unfenced(name, ...args)))
      const { resubscribed, subscribe } = yield* RedisSubscriber.make(options)
      const redis = yield* EffectRedis.make({
        send,
        subscribe: (channel, listener) => subscribe(names.named(channel), listener),
        connect: Effect.suspend(() => (isFenced ? fenced : openDedicated(options, names)))
      })
      return Context.make(EffectRedis.Redis, redis).pipe(
        Context.add(RedisHealth, {
          kind: "server",
          isCluster: client instanceof Cluster,
          health: health.now,
          named: names.named,
          unfenced,
          setFenced: (next) => {
            const isLifted = isFenced && !next
            isFenced = next
            if (!isLifted) return
            reconnected.notify()
            resubscribed.notify()
          },
          check: Effect.asVoid(
            Effect.andThen(send("SET", "hotpath:check", "1", "PX", "10000"), send("DEL", "hotpath:check"))
          ),
          listen: (channel, listener) => Effect.asVoid(subscribe(names.named(channel), listener)),
          onReconnected: reconnected.add,
          onResubscribed: resubscribed.add
        })
      )
    })
  )
