// The prefix of all keys and channels in Redis (REDIS_PREFIX), so that one Redis can serve several independent
// services. The code names its keys `hotpath:…`, or `{hotpath:…}…` where a Cluster has to keep several in one slot.
// Here, where commands leave, the prefix replaces that word. A key that begins with neither gets the prefix in front,
// so no key is sent without.
import { exists, getKeyIndexes } from "@ioredis/commands"

const written = "hotpath"
const own = /^(\{?)hotpath(?=[:}])/

export interface RedisNamespace {
  /** A key or channel as Redis knows it. */
  readonly named: (name: string) => string
  /** A command's arguments as they are sent. */
  readonly args: (command: string, args: ReadonlyArray<string>) => ReadonlyArray<string>
}

const identity: RedisNamespace = { named: (name) => name, args: (_command, args) => args }

export const makeRedisNamespace = (prefix: string = written): RedisNamespace => {
  if (prefix === written) return identity
  const named = (name: string) => (own.test(name) ? name.replace(own, `$1${prefix}`) : `${prefix}:${name}`)
  return {
    named,
    args: (command, args) => {
      const name = command.toLowerCase()
      const indexes = name === "publish" ? [0] : exists(name) ? getKeyIndexes(name, [...args]) : []
      if (indexes.length === 0) return args
      const sent = [...args]
      for (const index of indexes) sent[index] = named(sent[index] ?? "")
      return sent
    }
  }
}
