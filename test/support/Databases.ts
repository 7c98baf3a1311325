// A database of its own on the shared server, and plain SQL in it.
import { randomBytes } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { sharedPostgres } from "./SharedServers.ts"

export const query = <Row extends object>(url: string, text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(PgClient.make({ url: Redacted.make(url), maxConnections: 1 }), (sql) =>
        sql.unsafe<Row>(text, [...params])
      )
    ).pipe(Effect.provide(Reactivity.layer))
  )

export const freshDatabase = async (given?: string) => {
  const server = given ?? (await sharedPostgres())
  const name = `test_${randomBytes(6).toString("hex")}`
  await query(server, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}
