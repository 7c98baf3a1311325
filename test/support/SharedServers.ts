// The run's Redis, Redis Cluster and PostgreSQL, which all files share: started at the first question, so that a file that needs none does not
// wait for any. TEST_REDIS_URL and TEST_DATABASE_URL name running ones instead.
import { inject } from "vitest"

const ask = async (name: "bundle" | "cluster" | "redis" | "postgres") => {
  const answer = await fetch(`${inject("sharedServers")}/${name}`)
  const text = await answer.text()
  if (!answer.ok) throw new Error(text)
  return text
}

export const sharedRedis = async (): Promise<string> => process.env["TEST_REDIS_URL"] ?? ask("redis")

/** For suites that neither stop it nor look at all of its keys. */
export const sharedCluster = (): Promise<string> => ask("cluster")

/** The path of hotpath in one file. */
export const sharedBundle = (): Promise<string> => ask("bundle")

export const sharedPostgres = async (): Promise<string> => process.env["TEST_DATABASE_URL"] ?? ask("postgres")
