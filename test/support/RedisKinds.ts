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
