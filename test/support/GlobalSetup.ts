// One private Redis and one private PostgreSQL for the whole run, unless the environment names running ones.
import type { TestProject } from "vitest/node"
import { type RunningServer, startPostgres, startRedis } from "./Servers.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly redisUrl: string
    readonly postgresUrl: string
  }
}

export default async function setup(project: TestProject) {
  const servers: Array<RunningServer> = []
  const given = async (url: string | undefined, start: () => Promise<RunningServer>) => {
    if (url !== undefined) return url
    const server = await start()
    servers.push(server)
    return server.url
  }
  project.provide("redisUrl", await given(process.env["TEST_REDIS_URL"], startRedis))
  project.provide("postgresUrl", await given(process.env["TEST_DATABASE_URL"], startPostgres))
  return () => Promise.all(servers.map((server) => server.stop()))
}
