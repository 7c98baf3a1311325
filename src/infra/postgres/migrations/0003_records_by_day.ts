// Records in partitions by day, and the dead letters. A record's id begins with its time (UUID version 7), so the id
// alone determines its day, and dropping a day scans no rows.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE FUNCTION hotpath_record_id_at(at timestamptz) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
  $$`
  // Makes the missing partitions from today on, and drops those that are too old; returns how many it dropped.
  yield* sql`CREATE FUNCTION hotpath_record_days(ahead integer, kept integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE
      today timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
      day timestamptz;
      name text;
      dropped integer := 0;
    BEGIN
      PERFORM pg_advisory_xact_lock(7264738201);
      FOR n IN 0..ahead LOOP
        day := today + n * interval '24 hours';
        name := 'call_records_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
          EXECUTE format('CREATE TABLE %I PARTITION OF call_records FOR VALUES FROM (%L) TO (%L)', name,
            hotpath_record_id_at(day), hotpath_record_id_at(day + interval '24 hours'));
        END IF;
      END LOOP;
      IF kept IS NOT NULL THEN
        FOR name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = 'call_records'::regclass AND c.relname ~ '^call_records_[0-9]{8}$'
            AND c.relname < 'call_records_' || to_char((today - (kept - 1) * interval '24 hours') AT TIME ZONE 'UTC', 'YYYYMMDD')
        LOOP
          EXECUTE format('DROP TABLE %I', name);
          dropped := dropped + 1;
        END LOOP;
      END IF;
      RETURN dropped;
    END $$`

  yield* sql`ALTER TABLE call_records ADD COLUMN lookup_ms real, ADD COLUMN fetch_ms real`
  yield* sql`ALTER TABLE call_records RENAME TO call_records_before`
  yield* sql`ALTER INDEX call_records_by_user RENAME TO call_records_before_by_user`
  yield* sql`ALTER INDEX call_records_pkey RENAME TO call_records_before_pkey`
  yield* sql`CREATE TABLE call_records (LIKE call_records_before INCLUDING DEFAULTS, PRIMARY KEY (record_id))
    PARTITION BY RANGE (record_id)`
  yield* sql`CREATE INDEX call_records_by_user ON call_records (user_id, record_id)`
  // Records stored before this migration become part of today's partition, and are dropped with it.
  yield* sql`DO $$
    DECLARE
      today timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    BEGIN
      IF EXISTS (SELECT FROM call_records_before) THEN
        EXECUTE format('ALTER TABLE call_records_before RENAME TO call_records_%s',
          to_char(today AT TIME ZONE 'UTC', 'YYYYMMDD'));
        EXECUTE format('ALTER TABLE call_records ATTACH PARTITION call_records_%s FOR VALUES FROM (MINVALUE) TO (%L)',
          to_char(today AT TIME ZONE 'UTC', 'YYYYMMDD'), hotpath_record_id_at(today + interval '24 hours'));
      ELSE
        DROP TABLE call_records_before;
      END IF;
    END $$`
  // Takes the records of an instance whose clock is days off.
  yield* sql`CREATE TABLE call_records_elsewhere PARTITION OF call_records DEFAULT`
  yield* sql`SELECT hotpath_record_days(3, NULL)`

  yield* sql`CREATE TABLE dead_records (
    record_id text PRIMARY KEY,
    record text NOT NULL,
    reason text NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now()
  )`
})
