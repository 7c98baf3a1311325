// The shared connection to Redis: opened at the start, and again whenever it is lost. It tracks whether Redis is up,
// away, or misconfigured, and logs each change once.
import { Deferred, Effect } from "effect"
import { type Redis as Client, Cluster } from "ioredis"
import { makeListeners } from "../Listeners.ts"
import { makeHealth, type StoreHealth, up } from "../StoreFault.ts"
import { type AnyClient, close, endpoints, makeShared, masters, type RedisOptions } from "./RedisConnections.ts"
import { lastingFault, reasonOf, tlsMismatch } from "./RedisFaults.ts"

/** A server that accepts connections and does not answer counts as away after this, and the start goes on. */
const firstOutcomeMs = 3000
/** How often policy and permissions are checked again: a change of them does not show on the connection. */
const verifyEveryMs = 5000

/**
 * How safe data is on the masters. INFO says it, which managed servers allow where they forbid CONFIG. A server that
 * forbids INFO as well is trusted.
 */
const readSafety = async (client: AnyClient) => {
  const infos = await Promise.all(
    masters(client).flatMap((node) => ["memory", "persistence"].map((section) => node.info(section).catch(() => "")))
  )
  const valuesOf = (name: string) => infos.flatMap((info) => new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1] ?? [])
  const evicting = valuesOf("maxmemory_policy").find((policy) => policy !== "noeviction")
  const fault = `it evicts keys when it is full (maxmemory-policy ${evicting}), including acknowledged writes: set maxmemory-policy noeviction`
  return {
    fault: evicting === undefined ? undefined : fault,
    isOnDisk: valuesOf("aof_enabled").every((on) => on === "1")
  }
}

/**
 * Opens the shared client; `outcome` is its first connection or failure. A server that is away does not stop the start,
 * one that refuses this service does. The client closes with the scope.
 */
export const openShared = (options: RedisOptions) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const health = makeHealth("Redis", "REDIS_URL", { state: "away", reason: "not connected yet" })
      const client = makeShared(options)
      const reconnected = makeListeners()
      const first = yield* Deferred.make<StoreHealth>()
      const set = (next: StoreHealth) => run(Effect.andThen(health.set(next), Deferred.succeed(first, next)))
      if (client instanceof Cluster) client.on("+node", (node: Client) => node.on("ready", reconnected.notify))

      // This connection was refused. It must not be used: a Redis without the wanted database goes on with its first
      // one.
      let refused = false
      client.on("connect", () => {
        refused = false
      })
      const lost = (reason: string) => {
        if (!refused && health.now().state !== "misconfigured") set({ state: "away", reason })
      }
      let isProbingTls = false
      const onLost = (reason: string) => {
        if (isProbingTls) return
        if (Deferred.isDoneUnsafe(first) || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(reason)) return lost(reason)
        // The first time that a server hangs up or does not answer, TLS may be the reason.
        isProbingTls = true
        tlsMismatch(endpoints(options)[0] ?? "").then((mismatch) => {
          isProbingTls = false
          if (client.status === "ready") return
          if (mismatch === undefined) lost(reason)
          else set({ state: "misconfigured", reason: mismatch, loses: false })
        })
      }
      const onError = (error: Error) => {
        const fault = lastingFault(error)
        if (fault === undefined) return onLost(reasonOf(error))
        refused = true
        set({ state: "misconfigured", reason: fault, loses: false })
      }
      client.on("error", onError)
      const onClose = () => onLost("the connection closed")
      client.on("close", onClose)

      // Tries a script and a channel, which everything here needs. What may pass (a full Redis, a lost connection) is
      // no fault.
      const denial = (): Promise<string | undefined> => {
        const name = `${options.prefix ?? "hotpath"}:rights`
        return Promise.all([client.eval("return 1", 1, name), client.publish(name, "")]).then(
          () => undefined,
          (error: Error) => lastingFault(error)
        )
      }
      const verify = async (isFirst: boolean) => {
        const [safety, denied] = await Promise.all([readSafety(client), denial()])
        // Without answers nothing is known.
        if (client.status !== "ready") return
        const fault = denied ?? safety.fault
        if (isFirst && fault === undefined && !safety.isOnDisk) {
          run(
            Effect.logWarning(
              "Redis has no AOF: when it stops, it loses acknowledged data that no instance has in memory",
              { wanted: "appendonly yes, appendfsync everysec or always" }
            )
          )
        }
        set(fault === undefined ? up : { state: "misconfigured", reason: fault, loses: denied === undefined })
      }
      client.on("ready", () => {
        if (refused) {
          client.disconnect(true)
          return
        }
        // A node connects with its first command, and refuses others until then. So connect before there are commands.
        if (client instanceof Cluster) {
          for (const node of masters(client)) if (node.status === "wait") node.connect().catch(() => {})
        }
        reconnected.notify()
        verify(true).catch((error: Error) => onLost(error.message))
      })
      const verifying = setInterval(() => {
        if (client.status === "ready" && !refused) verify(false).catch(() => {})
      }, verifyEveryMs)
      client.connect().catch(() => {})
      const late = setTimeout(() => onLost("it does not answer"), firstOutcomeMs)
      return {
        client,
        reconnected,
        verifying,
        onClose,
        health,
        outcome: Effect.ensuring(
          Deferred.await(first),
          Effect.sync(() => clearTimeout(late))
        )
      }
    }),
    ({ client, onClose, verifying }) =>
      Effect.andThen(
        Effect.sync(() => {
          clearInterval(verifying)
          client.off("close", onClose)
        }),
        close(client)
      )
  )
