// The greatest fence that has written under each lock's name: a holder with a smaller one is late.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE lock_fences (
    name text PRIMARY KEY,
    fence bigint NOT NULL
  )`
})
