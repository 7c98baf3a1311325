// Documents of rooms, the open document of each room, and a message's version: a write that arrives late from a buffer
// must not undo a newer one.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE rooms ADD COLUMN document text NOT NULL DEFAULT 'main'`
  yield* sql`ALTER TABLE messages ADD COLUMN edition integer NOT NULL DEFAULT 0`
  // Two may have the same time, if one was buffered and one was not.
  yield* sql`DROP INDEX messages_in_order`
  yield* sql`CREATE INDEX messages_in_order ON messages (room_id, position)`
  yield* sql`CREATE TABLE documents (
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    name text NOT NULL,
    text text NOT NULL,
    version bigint NOT NULL,
    author text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, name)
  )`
  // Documents change often, and no index has a column that changes: free space on the page lets them change in place.
  yield* sql`ALTER TABLE documents SET (fillfactor = 50)`
})
