// The state of the Redis behind the Redis service, and the parts of its connection that few callers need.
import { Context, Effect, Layer, type Scope } from "effect"
import { Redis } from "effect/persistence"
import { type StoreHealth, up } from "../StoreFault.ts"

export class RedisHealth extends Context.Service<
  RedisHealth,
  {
    /** `in-process`: this instance is set up without Redis, and shares with no other instance. */
    readonly kind: "server" | "in-process"
    /** The state of the connection, and whether the server may be trusted with acknowledged data. */
    readonly health: () => StoreHealth
    /** Writes and removes a key within the command deadline. (A server that is full still answers reads.) */
    readonly check: Effect.Effect<void, Redis.RedisError>
    /**
     * In a Cluster, a channel whose name begins with a hash tag is sharded: it is published with SPUBLISH, and
     * delivered by the node that owns its slot.
     */
    readonly isCluster: boolean
    /**
     * A key or channel with its prefix, for script arguments that name a key without being one of the command's keys.
     */
    readonly named: (name: string) => string
    /**
     * While fenced, commands fail as if Redis was away, because it is not the Redis that this service uses. Lifting the
     * fence calls the listeners below.
     */
    readonly setFenced: (isFenced: boolean) => void
    /** Sends a command in spite of the fence, to find out which Redis this is. */
    readonly unfenced: Redis.Redis["Service"]["send"]
    /** Called on each new connection, before any command is sent: the server may have lost its data. */
    readonly onReconnected: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
    /**
     * `Redis.subscribe` without a queue and a fiber of its own: the listener gets the messages of the channel until the
     * scope is closed. Completes as that does: when messages flow, or after a command's deadline.
     */
    readonly listen: (
      channel: string,
      listener: (message: Redis.RedisMessage) => void
    ) => Effect.Effect<void, never, Scope.Scope>
    /** Called on each (re)subscription: messages published before it may be missed. */
    readonly onResubscribed: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("hotpath/infra/redis/RedisHealth") {
  /** For an instance without Redis. */
  static readonly layerNone = Layer.succeed(RedisHealth, {
    kind: "in-process",
    isCluster: false,
    health: () => up,
    named: (name) => name,
    setFenced: () => {},
    unfenced: () => Effect.fail(new Redis.RedisError({ cause: new Error("there is no Redis") })),
    check: Effect.void,
    listen: () => Effect.void,
    onReconnected: () => Effect.void,
    onResubscribed: () => Effect.void
  })
}
