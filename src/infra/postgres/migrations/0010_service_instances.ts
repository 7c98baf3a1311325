// The instances that use this database: each sends a heartbeat every second, and reads those of the others. See
// cluster/stores/StoreRoster.ts.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE service_instances (
    instance text PRIMARY KEY,
    since timestamptz NOT NULL,
    renewed timestamptz NOT NULL,
    entry text NOT NULL
  )`

  // One at a time, so that of two instances that start together one finds the other, and their times differ.
  yield* sql`CREATE FUNCTION hotpath_announce(announced text, text_of text, listed_ms float8)
    RETURNS TABLE (instance text, since float8, age_ms float8, entry text) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE
      at_now timestamptz;
    BEGIN
      LOCK TABLE service_instances IN SHARE ROW EXCLUSIVE MODE;
      at_now := clock_timestamp();
      DELETE FROM service_instances AS old
        WHERE old.renewed < at_now - listed_ms * interval '1 millisecond' AND old.instance <> announced;
      INSERT INTO service_instances AS own (instance, since, renewed, entry)
        VALUES (announced, at_now, at_now, text_of)
        ON CONFLICT (instance) DO UPDATE SET renewed = excluded.renewed, entry = excluded.entry;
      RETURN QUERY SELECT all_of.instance, (extract(epoch FROM all_of.since) * 1000)::float8,
        (extract(epoch FROM at_now - all_of.renewed) * 1000)::float8, all_of.entry FROM service_instances AS all_of;
    END $$`
})
