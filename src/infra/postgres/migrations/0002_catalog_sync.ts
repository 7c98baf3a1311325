// The catalog's versions and notifications. `catalog_versions` counts every change of an integration or a user's
// configuration, including deletions, and keeps the count of a deleted row: a version never returns with other content.
// Triggers count and notify, so plain SQL has the same effect as the admin API. A notification is sent with the commit,
// as `kind:version:key`; the key is left out if it is too long, or if the change is about all of them.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE catalog_versions (
    kind text NOT NULL,
    key text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (kind, key)
  )`
  yield* sql`INSERT INTO catalog_versions SELECT 'integration', name, version FROM integrations
    UNION ALL SELECT 'config', user_id, version FROM user_configs`

  // Sets a row's version before the write: one more than its last, even if the row was deleted since. An upsert that
  // finds the row fires this as an insert too, so it does not count.
  yield* sql`CREATE FUNCTION hotpath_catalog_version() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      content text := row_to_json(NEW) ->> TG_ARGV[2];
      new_key text := row_to_json(NEW) ->> TG_ARGV[1];
      last bigint;
    BEGIN
      IF TG_OP = 'UPDATE' AND row_to_json(OLD) ->> TG_ARGV[1] = new_key THEN
        IF NEW.version = OLD.version AND content IS NOT DISTINCT FROM row_to_json(OLD) ->> TG_ARGV[2] THEN
          RETURN NEW;
        END IF;
        last := OLD.version;
      ELSE
        SELECT v.version INTO last FROM catalog_versions v WHERE v.kind = TG_ARGV[0] AND v.key = new_key;
      END IF;
      NEW.version := greatest(NEW.version, coalesce(last, 0) + 1);
      IF NEW.version > 9007199254740000 THEN
        RAISE EXCEPTION 'a version counts changes: % is none', NEW.version USING ERRCODE = 'check_violation';
      END IF;
      NEW.updated_at := now();
      RETURN NEW;
    END $$`

  yield* sql`CREATE FUNCTION hotpath_catalog_notify(kind text, version bigint, key text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('hotpath_catalog',
      kind || ':' || version || ':' || CASE WHEN octet_length(key) < 7000 THEN key ELSE '' END)
  $$`

  // Counts and notifies. An insert beside an uncommitted deletion can't have seen its count, which is corrected here.
  yield* sql`CREATE FUNCTION hotpath_catalog_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      old_key text;
      new_key text;
      counted bigint;
    BEGIN
      IF TG_OP <> 'INSERT' THEN old_key := row_to_json(OLD) ->> TG_ARGV[1]; END IF;
      IF TG_OP <> 'DELETE' THEN new_key := row_to_json(NEW) ->> TG_ARGV[1]; END IF;
      IF old_key IS NOT NULL AND old_key IS DISTINCT FROM new_key THEN
        INSERT INTO catalog_versions AS v VALUES (TG_ARGV[0], old_key, OLD.version + 1)
          ON CONFLICT ON CONSTRAINT catalog_versions_pkey DO UPDATE SET version = greatest(v.version, excluded.version)
          RETURNING v.version INTO counted;
        PERFORM hotpath_catalog_notify(TG_ARGV[0], counted, old_key);
      END IF;
      IF new_key IS NULL OR (old_key = new_key AND OLD.version = NEW.version) THEN RETURN NULL; END IF;
      INSERT INTO catalog_versions AS v VALUES (TG_ARGV[0], new_key, NEW.version)
        ON CONFLICT ON CONSTRAINT catalog_versions_pkey DO UPDATE SET version =
          CASE WHEN old_key IS DISTINCT FROM new_key AND v.version >= excluded.version THEN v.version + 1
            ELSE greatest(v.version, excluded.version) END
        RETURNING v.version INTO counted;
      IF counted = NEW.version THEN
        PERFORM hotpath_catalog_notify(TG_ARGV[0], counted, new_key);
      ELSE
        EXECUTE format('UPDATE %s SET version = $1 WHERE %I = $2', TG_RELID::regclass, TG_ARGV[1])
          USING counted, new_key;
      END IF;
      RETURN NULL;
    END $$`

  yield* sql`CREATE FUNCTION hotpath_catalog_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE catalog_versions SET version = version + 1 WHERE kind = TG_ARGV[0];
      PERFORM hotpath_catalog_notify(TG_ARGV[0], 0, '');
      RETURN NULL;
    END $$`

  for (const [table, kind, key, content] of [
    ["integrations", "integration", "name", "definition"],
    ["user_configs", "config", "user_id", "config"]
  ] as const) {
    const args = sql.literal(`('${kind}', '${key}', '${content}')`)
    const on = sql.literal(table)
    yield* sql`CREATE TRIGGER hotpath_version BEFORE INSERT OR UPDATE ON ${on}
      FOR EACH ROW EXECUTE FUNCTION hotpath_catalog_version${args}`
    yield* sql`CREATE TRIGGER hotpath_changed AFTER INSERT OR UPDATE OR DELETE ON ${on}
      FOR EACH ROW EXECUTE FUNCTION hotpath_catalog_changed${args}`
    yield* sql`CREATE TRIGGER hotpath_truncated AFTER TRUNCATE ON ${on}
      FOR EACH STATEMENT EXECUTE FUNCTION hotpath_catalog_truncated${args}`
  }
  yield* sql`CREATE INDEX call_records_by_user ON call_records (user_id, record_id)`
})
