// The Redis data that the buffer was last in, by the name it got when it began. See storage/buffer/WriterLeases.ts.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE buffer_origin (id int PRIMARY KEY CHECK (id = 1), origin text NOT NULL)`
})
