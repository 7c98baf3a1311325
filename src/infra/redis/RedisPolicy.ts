// How safe data is in a Redis: whether it evicts keys when it is full, and whether it keeps them on disk. Read with
// INFO, which managed servers allow where they forbid CONFIG. A server that forbids INFO as well is trusted.
import { type AnyClient, masters } from "./RedisConnections.ts"

export interface RedisPolicy {
  /** Only `noeviction` keeps acknowledged data. Undefined: the server does not say. */
  readonly eviction: string | undefined
  readonly isAppendOnly: boolean | undefined
}

const field = (info: string, name: string) => new RegExp(`^${name}:(\\S+)`, "m").exec(info)?.[1]

/** One for each master. */
export const readPolicies = (client: AnyClient): Promise<ReadonlyArray<RedisPolicy>> =>
  Promise.all(
    masters(client).map(async (node) => {
      const [memory, persistence] = await Promise.all(
        ["memory", "persistence"].map((section) => node.info(section).catch(() => ""))
      )
      const aof = field(persistence ?? "", "aof_enabled")
      return {
        eviction: field(memory ?? "", "maxmemory_policy"),
        isAppendOnly: aof === undefined ? undefined : aof === "1"
      }
    })
  )

export const evictionFault = (policies: ReadonlyArray<RedisPolicy>): string | undefined => {
  const evicting = policies.find(({ eviction }) => eviction !== undefined && eviction !== "noeviction")
  return evicting === undefined
    ? undefined
    : `it evicts keys when it is full (maxmemory-policy ${evicting.eviction}), including acknowledged writes: set maxmemory-policy noeviction`
}
