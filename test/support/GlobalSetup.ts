// One private Redis, one Redis Cluster and one private PostgreSQL for the whole run, and hotpath in one file, each made when a
// test first asks for it (SharedServers.ts). They are children of this process, not of a worker: workers end earlier.
import { createServer } from "node:http"
import type { TestProject } from "vitest/node"
import { makeBundle } from "./Bundle.ts"
import { startRedisCluster } from "./RedisKinds.ts"
import { type RunningServer, startPostgres, startRedis } from "./Servers.ts"

type Shared = Pick<RunningServer, "url" | "stop">

declare module "vitest" {
  interface ProvidedContext {
    /** `GET /redis`, `/cluster` and `/postgres` answer the server's URL as text, `/bundle` the file's path. */
    readonly sharedServers: string
  }
}

export default async function setup(project: TestProject) {
  const starts: Readonly<Record<string, () => Promise<Shared>>> = {
    "/bundle": makeBundle,
    "/cluster": startRedisCluster,
    "/redis": () => startRedis(),
    "/postgres": startPostgres
  }
  const started = new Map<string, Promise<Shared>>()
  const get = (path: string) => {
    const running = started.get(path) ?? (starts[path] ?? (() => Promise.reject(new Error(`no server ${path}`))))()
    started.set(path, running)
    return running
  }
  const desk = createServer(({ url = "" }, response) => {
    get(url).then(
      (server) => response.end(server.url),
      (error) => response.writeHead(500).end(String(error))
    )
  })
  await new Promise<void>((resolve) => desk.listen(0, "127.0.0.1", resolve))
  const address = desk.address()
  if (address === null || typeof address === "string") throw new Error("no port for the shared servers")
  project.provide("sharedServers", `http://127.0.0.1:${address.port}`)
  return async () => {
    desk.close()
    desk.closeAllConnections()
    const running = await Promise.allSettled(started.values())
    await Promise.all(running.map((start) => (start.status === "fulfilled" ? start.value.stop() : undefined)))
  }
}
