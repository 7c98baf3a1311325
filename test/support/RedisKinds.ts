// Redis over TLS, and a Redis Cluster of one node that serves every slot.
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Redis } from "ioredis"
import { type RunningServer, startRedis } from "./Servers.ts"
import { until } from "./Until.ts"

const tls = join(import.meta.dirname, "tls")
const certificate = join(tls, "cert.pem")

/** The authority that startRedisTls is trusted with: its own certificate, for 127.0.0.1 and localhost. */
export const ca = readFileSync(certificate, "utf8")

export const startRedisTls = (): Promise<RunningServer> =>
  startRedis(
    ["--tls-cert-file", certificate, "--tls-key-file", join(tls, "key.pem"), "--tls-auth-clients", "no"],
    "rediss"
  )

/** Its URL names the node twice: several make a Cluster. */
export const startRedisCluster = async (): Promise<RunningServer> => {
  const server = await startRedis(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"])
  const node = new Redis(server.url)
  await node.call("CLUSTER", "ADDSLOTS", ...Array.from({ length: 16_384 }, (_, slot) => String(slot)))
  const isOk = async () => String(await node.call("CLUSTER", "INFO")).includes("cluster_state:ok")
  await until(isOk, "the cluster to be ok")
  node.disconnect()
  return { ...server, url: `${server.url},${server.url}` }
}

/** Three nodes, each with a third of the slots; which node it is that has one, the other two know. */
export const startRedisShards = async () => {
  const nodes = await Promise.all(
    [0, 1, 2].map(() => startRedis(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]))
  )
  const clients = nodes.map(({ url }) => new Redis(url))
  const ports = nodes.map(({ url }) => new URL(url).port)
  const slots = Array.from({ length: 16_384 }, (_, slot) => String(slot))
  for (const [n, client] of clients.entries()) {
    await client.call(
      "CLUSTER",
      "ADDSLOTS",
      ...slots.slice(Math.ceil((n * 16_384) / 3), Math.ceil(((n + 1) * 16_384) / 3))
    )
    if (n > 0) await client.call("CLUSTER", "MEET", "127.0.0.1", ports[0] ?? "")
  }
  const isOk = async () => {
    const states = await Promise.all(clients.map(async (client) => String(await client.call("CLUSTER", "INFO"))))
    return states.every((state) => state.includes("cluster_state:ok") && state.includes("cluster_known_nodes:3"))
  }
  await until(isOk, "the cluster to be ok")
  for (const client of clients) client.disconnect()
  return {
    nodes,
    url: nodes.map(({ url }) => url).join(","),
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()))
    }
  }
}
