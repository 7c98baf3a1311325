// The instances that use the write buffer: as long as one does, no instance writes a document directly to Postgres. See
// storage/buffer/WriterLeases.ts.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // One row, locked by an instance that begins to use the buffer or bypasses it: the lease, and the server incarnation
  // of the buffer (column `run`) that it belongs to.
  yield* sql`CREATE TABLE buffer_lease (number bigint NOT NULL, run text NOT NULL, began timestamptz NOT NULL)`
  yield* sql`INSERT INTO buffer_lease VALUES (0, '', now())`
  yield* sql`CREATE TABLE buffer_holders (
    instance text PRIMARY KEY,
    run text NOT NULL,
    until timestamptz NOT NULL
  )`

  // An instance that comes while no other uses the buffer begins a new lease, because documents may have bypassed the
  // buffer before. So does the first instance that sees another server incarnation, unless another instance still has
  // to see it. Expired leases are remembered for an hour.
  yield* sql`CREATE FUNCTION hotpath_hold_buffer(holder text, seen text, ttl_ms float8,
      OUT lease bigint, OUT age_ms float8, OUT is_agreed boolean, OUT is_whole boolean) LANGUAGE plpgsql AS $$
    DECLARE
      at_now timestamptz;
      known text;
      since timestamptz;
    BEGIN
      SELECT number, run, began INTO lease, known, since FROM buffer_lease FOR UPDATE;
      at_now := clock_timestamp();
      DELETE FROM buffer_holders WHERE until < at_now - interval '1 hour';
      is_agreed := NOT EXISTS (SELECT FROM buffer_holders
        WHERE instance <> holder AND until >= at_now AND run <> seen);
      IF NOT EXISTS (SELECT FROM buffer_holders WHERE until >= at_now) OR (is_agreed AND known <> seen) THEN
        UPDATE buffer_lease SET number = number + 1, run = seen, began = at_now
          RETURNING number, began INTO lease, since;
      END IF;
      INSERT INTO buffer_holders (instance, run, until)
        VALUES (holder, seen, at_now + ttl_ms * interval '1 millisecond')
        ON CONFLICT (instance) DO UPDATE SET run = excluded.run, until = excluded.until;
      is_whole := NOT EXISTS (SELECT FROM buffer_holders WHERE until < at_now);
      age_ms := extract(epoch FROM at_now - since) * 1000;
    END $$`

  // Begins a transaction that bypasses the buffer: until it ends no instance begins to use the buffer. HP004: one does.
  yield* sql`CREATE FUNCTION hotpath_past_buffer() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM number FROM buffer_lease FOR SHARE;
      IF EXISTS (SELECT FROM buffer_holders WHERE until >= clock_timestamp()) THEN
        RAISE EXCEPTION 'the buffer is held' USING ERRCODE = 'HP004';
      END IF;
    END $$`
})
