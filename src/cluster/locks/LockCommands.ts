// What locks ask of the memory that instances share. Each command is one step. The port, and its layer over Redis;
// LockMemory.ts implements it in memory.
import { Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { acquireScript, advisoryScript, releaseScript, renewScript } from "./LockScripts.ts"

type Command<A> = Effect.Effect<A, Redis.RedisError>

export class LockCommands extends Context.Service<
  LockCommands,
  {
    /** The fence as text, or '' if another token has the lock. */
    readonly acquire: (name: string, token: string, ttlMs: number, minFence: number) => Command<string>
    /** Acquires or renews an advisory lock. 0: another token has it. */
    readonly advisory: (name: string, token: string, ttlMs: number) => Command<number>
    /** 1: renewed, or acquired for a local lease; 0: the lock is lost. */
    readonly renew: (name: string, token: string, ttlMs: number, fence: number, isLocal: boolean) => Command<number>
    readonly release: (name: string, token: string) => Command<number>
  }
>()("hotpath/cluster/locks/LockCommands") {
  static readonly layer = Layer.effect(
    LockCommands,
    Effect.map(Redis.Redis, (redis) =>
      LockCommands.of({
        acquire: redis.eval(acquireScript),
        advisory: redis.eval(advisoryScript),
        renew: redis.eval(renewScript),
        release: redis.eval(releaseScript)
      })
    )
  )
}
