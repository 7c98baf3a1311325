// The connection of all commands to Redis: opened with the start, and for ever again when it is lost. It knows how Redis
// is: up, away, or refusing us, and says each change once.
import { Deferred, Effect } from "effect"
import { type Redis as Client, Cluster } from "ioredis"
import { makeHealth, type StoreHealth, up } from "../StoreFault.ts"
import { close, endpoints, makeShared, masters, type RedisOptions } from "./RedisConnections.ts"
import { lastingFault, reasonOf, tlsMismatch } from "./RedisFaults.ts"
import { evictionFault, readPolicies } from "./RedisPolicy.ts"

/** A server that takes connections and says nothing is away: the start goes on without it after this. */
const firstOutcomeMs = 3000
/** How often it is asked again whether it keeps what it takes, and lets us: no connection tells when that changes. */
const judgeEveryMs = 5000

/**
 * Opens the shared client, and waits for its first connection or failure: a server that is away is waited for behind the
 * start, one that refuses us ends it. Later each change is said once. Closes with the scope.
 */
export const openShared = (options: RedisOptions) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const health = makeHealth("Redis", "REDIS_URL", { state: "away", reason: "not connected yet" })
      const client = makeShared(options)
      const listeners = new Set<() => void>()
      const tell = () => {
        for (const listener of listeners) listener()
      }
      const first = yield* Deferred.make<StoreHealth>()
      const set = (next: StoreHealth) => run(Effect.andThen(health.set(next), Deferred.succeed(first, next)))
      if (client instanceof Cluster) client.on("+node", (node: Client) => node.on("ready", tell))

      // Of this connection: a Redis that has no such database goes on with its first one.
      let refused = false
      client.on("connect", () => {
        refused = false
      })
      const lost = (reason: string) => {
        if (!refused && health.now().state !== "misconfigured") set({ state: "away", reason })
      }
      let isAsking = false
      const onLost = (reason: string) => {
        // The first time, a server that hangs up or is silent is asked whether it is TLS that it wants, or has not.
        if (isAsking || Deferred.isDoneUnsafe(first) || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(reason)) {
          if (!isAsking) lost(reason)
          return
        }
        isAsking = true
        tlsMismatch(endpoints(options)[0] ?? "").then((mismatch) => {
          isAsking = false
          if (client.status === "ready") return
          if (mismatch === undefined) lost(reason)
          else set({ state: "misconfigured", reason: mismatch, loses: false })
        })
      }
      const onError = (error: Error) => {
        const fault = lastingFault(error)
        if (fault === undefined) {
          onLost(reasonOf(error))
        } else {
          refused = true
          set({ state: "misconfigured", reason: fault, loses: false })
        }
      }
      client.on("error", onError)
      const onClose = () => onLost("the connection closed")
      client.on("close", onClose)

      // By the script and the channel that everything here is made of. What passes (a full Redis, a lost connection) is no
      // fault.
      const denial = (): Promise<string | undefined> => {
        const name = `${options.prefix ?? "hotpath"}:rights`
        return Promise.all([client.eval("return 1", 1, name), client.publish(name, "")]).then(
          () => undefined,
          (error: Error) => lastingFault(error)
        )
      }
      const judge = async (isFirst: boolean) => {
        const [policies, denied] = await Promise.all([readPolicies(client), denial()])
        // What was not answered says nothing.
        if (client.status !== "ready") return
        const fault = denied ?? evictionFault(policies)
        if (isFirst && fault === undefined && policies.some(({ isAppendOnly }) => isAppendOnly === false)) {
          run(
            Effect.logWarning(
              "Redis has no AOF: what it acknowledged is lost when it stops, but for what instances remember",
              {
                wanted: "appendonly yes, appendfsync everysec or always"
              }
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
        // A node connects with its first command, and refuses others meanwhile: don't leave that to the first commands.
        if (client instanceof Cluster) {
          for (const node of masters(client)) if (node.status === "wait") node.connect().catch(() => {})
        }
        tell()
        judge(true).catch((error: Error) => onLost(error.message))
      })
      const again = setInterval(() => {
        if (client.status === "ready" && !refused) judge(false).catch(() => {})
      }, judgeEveryMs)
      client.connect().catch(() => {})
      const late = setTimeout(() => onLost("it does not answer"), firstOutcomeMs)
      return {
        client,
        listeners,
        tell,
        again,
        onClose,
        health,
        outcome: Effect.ensuring(
          Deferred.await(first),
          Effect.sync(() => clearTimeout(late))
        )
      }
    }),
    ({ again, client, onClose }) =>
      Effect.andThen(
        Effect.sync(() => {
          clearInterval(again)
          client.off("close", onClose)
        }),
        close(client)
      )
  )
