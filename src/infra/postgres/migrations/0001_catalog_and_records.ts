// The catalog (integrations, user configurations) and the call records. A definition is `json`, which keeps the order
// of the fields of `result`: it is their order in the reply.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE integrations (
    name text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    definition json NOT NULL,
    sample boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now()
  )`
  yield* sql`CREATE TABLE user_configs (
    user_id text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 1,
    config jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
  )`
  yield* sql`CREATE TABLE call_records (
    record_id uuid PRIMARY KEY,
    user_id text NOT NULL,
    integration text NOT NULL,
    input jsonb NOT NULL,
    config_version bigint NOT NULL,
    status integer NOT NULL,
    body jsonb NOT NULL,
    requested_at timestamptz NOT NULL,
    replied_at timestamptz NOT NULL,
    connection_id text NOT NULL,
    trace_id text
  )`
})
