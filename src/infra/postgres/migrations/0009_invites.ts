// Removals from a room, and the invites that are older. Both carry the room's change number, which
// grows under the room's lock, and not a time: so a removal and a concurrent invite have one order.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // 0 for existing invites, and for those that an older release makes: older than any removal.
  yield* sql`ALTER TABLE room_invites
    ADD COLUMN invite_no bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN revision bigint NOT NULL DEFAULT 0,
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now()`
  yield* sql`CREATE INDEX room_invites_in_order ON room_invites (room_id, invite_no)`
  yield* sql`CREATE INDEX room_invites_by_maker ON room_invites (room_id, created_by)`
  yield* sql`DROP INDEX room_invites_by_room`
  yield* sql`CREATE TABLE room_removed (
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    user_id text NOT NULL,
    revision bigint NOT NULL,
    removed_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, user_id)
  )`
})
