// A database of its own on the shared server, and plain SQL in it.
import { randomBytes } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { sharedPostgres } from "./SharedServers.ts"
import { until } from "./Until.ts"

export const query = <Row extends object>(url: string, text: string, params: ReadonlyArray<unknown> = []) =>
  Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(PgClient.make({ url: Redacted.make(url), maxConnections: 1 }), (sql) =>
        sql.unsafe<Row>(text, [...params])
      )
    ).pipe(Effect.provide(Reactivity.layer))
  )

/** A query of an instance's tables: where its database was slower than its deadline, it makes them after it listens. */
export const queryOnceMade = async (url: string, text: string, params: ReadonlyArray<unknown> = []) => {
  const isMade = async () =>
    (await query<{ made: boolean }>(url, "SELECT to_regclass('call_records') IS NOT NULL AS made"))[0]?.made === true
  await until(isMade, "the schema to be made")
  return query(url, text, params)
}

/** Runs the statement in a transaction that stays open, with its locks, until it is released. */
export const held = async (url: string, text: string) => {
  const [done, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const over = Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(PgClient.make({ url: Redacted.make(url), maxConnections: 1 }), (sql) =>
        sql.withTransaction(
          Effect.andThen(
            sql.unsafe(text),
            Effect.promise(() => {
              done.resolve()
              return released.promise
            })
          )
        )
      )
    ).pipe(Effect.provide(Reactivity.layer))
  )
  await Promise.race([done.promise, over])
  return {
    /** Until so many others wait for its locks. */
    isWaitedFor: (count = 1) =>
      until(async () => {
        const waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return (await query(url, waiting)).length >= count
      }, `others to wait for ${text}`),
    release: () => {
      released.resolve()
      return over
    }
  }
}

export const freshDatabase = async (given?: string) => {
  const server = given ?? (await sharedPostgres())
  const name = `test_${randomBytes(6).toString("hex")}`
  await query(server, `CREATE DATABASE ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}
