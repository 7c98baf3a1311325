// Rooms and their contents. Every change of a room increments its change number under the room's
// row lock, so that a room's changes have one order. The same transaction stores the change's event in `room_outbox`,
// until it is published.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE rooms (
    room_id uuid PRIMARY KEY,
    title text NOT NULL,
    owner text NOT NULL,
    auto_assign boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL DEFAULT 0,
    generation bigint NOT NULL DEFAULT 0
  )`
  yield* sql`CREATE INDEX rooms_deleted ON rooms (deleted_at) WHERE deleted_at IS NOT NULL`
  yield* sql`CREATE TABLE room_members (
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    user_id text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    joined_at timestamptz NOT NULL,
    PRIMARY KEY (room_id, user_id)
  )`
  yield* sql`CREATE INDEX room_members_by_user ON room_members (user_id)`
  // The secret half of the token is stored as its SHA-256 only.
  yield* sql`CREATE TABLE room_invites (
    invite_id text PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    secret_hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    created_by text NOT NULL,
    expires_at timestamptz,
    max_uses integer,
    uses integer NOT NULL DEFAULT 0
  )`
  yield* sql`CREATE INDEX room_invites_by_room ON room_invites (room_id)`
  yield* sql`CREATE INDEX room_invites_by_expiry ON room_invites (expires_at) WHERE expires_at IS NOT NULL`
  yield* sql`CREATE TABLE threads (
    thread_id uuid PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    title text NOT NULL,
    category text,
    archived boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    UNIQUE (room_id, thread_id)
  )`
  yield* sql`CREATE TABLE messages (
    message_id uuid PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES rooms ON DELETE CASCADE,
    thread_id uuid,
    author text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('chat', 'prompt', 'response', 'system')),
    body text NOT NULL,
    at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    reactions jsonb NOT NULL DEFAULT '{}',
    position bigint NOT NULL,
    key text,
    FOREIGN KEY (room_id, thread_id) REFERENCES threads (room_id, thread_id)
  )`
  yield* sql`CREATE UNIQUE INDEX messages_in_order ON messages (room_id, position)`
  yield* sql`CREATE INDEX messages_by_thread ON messages (room_id, thread_id, position) WHERE thread_id IS NOT NULL`
  yield* sql`CREATE UNIQUE INDEX messages_once ON messages (room_id, author, key) WHERE key IS NOT NULL`
  yield* sql`CREATE TABLE room_outbox (
    room_id uuid NOT NULL,
    revision bigint NOT NULL,
    at timestamptz NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    event text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, revision)
  )`
  yield* sql`CREATE TABLE contacts (
    owner text NOT NULL,
    user_id text NOT NULL,
    name text,
    note text,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (owner, user_id)
  )`
  yield* sql`CREATE TABLE feedback (
    feedback_id uuid PRIMARY KEY,
    user_id text NOT NULL,
    about text NOT NULL,
    rating integer NOT NULL,
    comment text,
    at timestamptz NOT NULL
  )`

  // Every write in a room begins with this. It locks the room's row until the transaction ends, and then reads the
  // caller's role, so that a member who was removed meanwhile is refused. HP001: no such room; HP002: not a member;
  // HP003: the role does not allow it.
  yield* sql`CREATE FUNCTION hotpath_room_write(room uuid, actor text, allowed text[],
      OUT revision bigint, OUT generation bigint) LANGUAGE plpgsql AS $$
    DECLARE
      held text;
    BEGIN
      UPDATE rooms r SET revision = r.revision + 1 WHERE r.room_id = room AND r.deleted_at IS NULL
        RETURNING r.revision, r.generation INTO revision, generation;
      IF NOT FOUND THEN RAISE EXCEPTION 'no such room' USING ERRCODE = 'HP001'; END IF;
      IF allowed IS NULL THEN RETURN; END IF;
      SELECT m.role INTO held FROM room_members m WHERE m.room_id = room AND m.user_id = actor;
      IF NOT FOUND THEN RAISE EXCEPTION 'not a member' USING ERRCODE = 'HP002'; END IF;
      IF NOT held = ANY (allowed) THEN RAISE EXCEPTION 'not allowed' USING ERRCODE = 'HP003'; END IF;
    END $$`
})
