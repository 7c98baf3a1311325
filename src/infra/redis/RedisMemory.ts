// The in-process twin of Redis, for a machine without one and for tests: the commands of RedisCommands.ts and pub/sub,
// within this process. Expiry follows Effect's clock. It holds a bounded number of keys and bytes, in memory only: nothing
// survives a restart. Scripts and blocking commands are the real one's; they fail here as unknown.
import { Clock, Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { up } from "../StoreFault.ts"
import * as RedisCommands from "./RedisCommands.ts"
import { RedisHealth } from "./RedisHealth.ts"
import * as RedisKeyspace from "./RedisKeyspace.ts"

type Listener = (message: Redis.RedisMessage) => void

export const layerWith = (bounds: RedisKeyspace.Bounds): Layer.Layer<Redis.Redis | RedisHealth> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const channels = new Map<string, Set<Listener>>()
      const publish = (channel: string, message: string) => {
        const listeners = channels.get(channel)
        if (listeners === undefined) return 0
        for (const listener of listeners) listener({ channel, message })
        // Redis counts connections, and an instance has one.
        return 1
      }
      const run = RedisCommands.make(RedisKeyspace.make(bounds), publish)

      const send = <A = unknown>(name: string, ...args: ReadonlyArray<string>) =>
        Effect.withFiber<A, Redis.RedisError>((fiber) => {
          const reply = run(name, args, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
          return reply instanceof RedisCommands.ErrorReply
            ? Effect.fail(new Redis.RedisError({ cause: reply }))
            : Effect.succeed(reply as A)
        })

      const subscribe = (channel: string, listener: Listener) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            channels.set(channel, (channels.get(channel) ?? new Set()).add(listener))
            return Effect.never
          }),
          () =>
            Effect.sync(() => {
              const listeners = channels.get(channel)
              listeners?.delete(listener)
              if (listeners?.size === 0) channels.delete(channel)
            })
        )

      const redis = yield* Redis.make({ send, subscribe, connect: Effect.succeed({ send, close: Effect.void }) })
      return Context.make(Redis.Redis, redis).pipe(
        Context.add(RedisHealth, {
          kind: "in-process",
          isCluster: false,
          health: () => up,
          named: (name) => name,
          settled: Effect.void,
          setFenced: () => {},
          unfenced: send,
          check: Effect.void,
          onReconnected: () => Effect.void,
          onResubscribed: () => Effect.void
        })
      )
    })
  )

export const layer = layerWith({ maxKeys: 200_000, maxBytes: 67_108_864 })
