// The message that answers a prompt, so that a retry finds the prompts that have no answer yet.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE messages ADD COLUMN answer uuid`
  yield* sql`CREATE INDEX messages_unanswered ON messages (room_id, author)
    WHERE kind = 'prompt' AND answer IS NULL AND deleted_at IS NULL`
})
