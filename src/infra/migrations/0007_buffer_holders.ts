// Who uses the buffer before the rooms: as long as anybody does, nobody writes a document past it. See
// storage/BufferHolds.ts.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // One row, which everybody locks who comes or writes past the buffer.
  yield* sql`CREATE TABLE buffer_lease (number bigint NOT NULL)`
  yield* sql`INSERT INTO buffer_lease (number) VALUES (0)`
  yield* sql`CREATE TABLE buffer_holders (
    instance text PRIMARY KEY,
    run text NOT NULL,
    until timestamptz NOT NULL
  )`

  // Whoever comes when nobody is there begins a new lease: documents may have been written past the buffer before it.
  yield* sql`CREATE FUNCTION hotpath_hold_buffer(holder text, seen text, ttl_ms float8,
      OUT lease bigint, OUT is_agreed boolean) LANGUAGE plpgsql AS $$
    DECLARE
      at_now timestamptz;
    BEGIN
      SELECT number INTO lease FROM buffer_lease FOR UPDATE;
      at_now := clock_timestamp();
      DELETE FROM buffer_holders WHERE until < at_now;
      IF NOT EXISTS (SELECT FROM buffer_holders) THEN
        UPDATE buffer_lease SET number = number + 1 RETURNING number INTO lease;
      END IF;
      INSERT INTO buffer_holders (instance, run, until)
        VALUES (holder, seen, at_now + ttl_ms * interval '1 millisecond')
        ON CONFLICT (instance) DO UPDATE SET run = excluded.run, until = excluded.until;
      SELECT bool_and(run = seen) INTO is_agreed FROM buffer_holders;
    END $$`

  // Begins a transaction that writes past the buffer: until it ends nobody begins to use that. HP004: somebody does.
  yield* sql`CREATE FUNCTION hotpath_past_buffer() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM number FROM buffer_lease FOR SHARE;
      IF EXISTS (SELECT FROM buffer_holders WHERE until >= clock_timestamp()) THEN
        RAISE EXCEPTION 'the buffer is held' USING ERRCODE = 'HP004';
      END IF;
    END $$`
})
