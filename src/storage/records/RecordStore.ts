// Call records in Postgres. Inserting a stored record again changes nothing, so a batch whose reply was lost may be
// inserted again.
import { Clock, Context, Effect, Layer } from "effect"
import type { CallRecord } from "../../domain/CallRecord.ts"
import { Database, type DatabaseRefused, DatabaseUnavailable } from "../../infra/postgres/Database.ts"

type Failure = DatabaseUnavailable | DatabaseRefused

/** Records that memory takes; beyond it inserts fail, and records wait where they are. */
const maxRecords = 1_000_000
const dayMs = 86_400_000

/** The records of the instances that share their stores in memory. */
export class RecordStoreState extends Context.Service<
  RecordStoreState,
  { readonly records: Map<string, CallRecord> }
>()("hotpath/storage/records/RecordStoreState") {
  static readonly layer = Layer.sync(RecordStoreState, () => ({ records: new Map<string, CallRecord>() }))
}

export class RecordStore extends Context.Service<
  RecordStore,
  {
    /** Completes when the store can be used for the first time. */
    readonly ready: Effect.Effect<void>
    /** Inserts all of them or none; idempotent by `recordId`. */
    readonly insert: (records: ReadonlyArray<CallRecord>) => Effect.Effect<void, Failure>
    /** The given ids that are stored. */
    readonly present: (recordIds: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, Failure>
    /**
     * Creates the partitions of the coming days and drops those older than `retentionDays`, if given. Returns the
     * number of dropped partitions.
     */
    readonly rotatePartitions: (retentionDays: number | undefined) => Effect.Effect<number, Failure>
    /** A page of the stored records, of one user or of all, newest first, from below the record `after`. */
    readonly list: (page: {
      readonly user?: string | undefined
      readonly after?: string | undefined
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<CallRecord>, Failure>
  }
>()("hotpath/storage/records/RecordStore") {
  static readonly layer = Layer.effect(
    RecordStore,
    Effect.gen(function* () {
      const { migrated, run, sql } = yield* Database

      // The client rejects an array that mixes integers and fractions, so such numbers are sent as text. With one
      // array per column the statement's text does not depend on the batch's size, so it is prepared once.
      const insert = (records: ReadonlyArray<CallRecord>) =>
        run(sql`INSERT INTO call_records (record_id, user_id, integration, input, config_version, status, body,
            requested_at, replied_at, connection_id, trace_id, lookup_ms, fetch_ms)
          SELECT id, user_id, integration, input::jsonb, config_version::bigint, status, body::jsonb,
            to_timestamp(requested_at / 1000), to_timestamp(replied_at / 1000), connection_id, nullif(trace_id, ''),
            lookup_ms::real, fetch_ms::real
          FROM unnest(${records.map((r) => r.recordId)}::uuid[], ${records.map((r) => r.user)}::text[],
            ${records.map((r) => r.integration)}::text[], ${records.map((r) => r.input)}::text[],
            ${records.map((r) => String(r.configVersion))}::text[], ${records.map((r) => r.status)}::int[],
            ${records.map((r) => r.body)}::text[], ${records.map((r) => r.requestedAt)}::float8[],
            ${records.map((r) => r.repliedAt)}::float8[], ${records.map((r) => r.connectionId)}::text[],
            ${records.map((r) => r.traceId ?? "")}::text[],
            ${records.map((r) => String(r.lookupMs))}::text[], ${records.map((r) => String(r.fetchMs))}::text[])
            AS batch (id, user_id, integration, input, config_version, status, body, requested_at, replied_at,
              connection_id, trace_id, lookup_ms, fetch_ms)
          ON CONFLICT DO NOTHING`).pipe(Effect.asVoid)

      const list: RecordStore["Service"]["list"] = ({ after, limit, user }) => {
        const conditions = [
          ...(user === undefined ? [] : [sql`user_id = ${user}`]),
          ...(after === undefined ? [] : [sql`record_id < ${after}::text::uuid`])
        ]
        const where = conditions.length === 0 ? sql`` : sql`WHERE ${sql.and(conditions)}`
        return run(sql<CallRecord>`SELECT record_id AS "recordId", user_id AS "user", integration, input::text AS input,
            config_version::float8 AS "configVersion", status, body::text AS body,
            (extract(epoch FROM requested_at) * 1000)::float8 AS "requestedAt",
            (extract(epoch FROM replied_at) * 1000)::float8 AS "repliedAt",
            connection_id AS "connectionId", trace_id AS "traceId",
            coalesce(lookup_ms, 0)::float8 AS "lookupMs", coalesce(fetch_ms, 0)::float8 AS "fetchMs"
          FROM call_records ${where} ORDER BY record_id DESC LIMIT ${limit}`)
      }

      return RecordStore.of({
        ready: migrated,
        insert,
        list,
        present: (recordIds) =>
          Effect.map(
            run(
              sql<{ id: string }>`SELECT record_id AS id FROM call_records WHERE record_id = ANY(${recordIds}::uuid[])`
            ),
            (rows) => rows.map(({ id }) => id)
          ),
        rotatePartitions: (retentionDays) =>
          Effect.map(
            run(sql<{ dropped: number }>`SELECT hotpath_record_days(3, ${retentionDays ?? null}::int) AS dropped`),
            ([row]) => row?.dropped ?? 0
          )
      })
    })
  )

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Layer.effect(
    RecordStore,
    Effect.map(RecordStoreState, ({ records }) =>
      RecordStore.of({
        ready: Effect.void,
        insert: (inserted) =>
          Effect.suspend(() => {
            const added = inserted.filter(({ recordId }) => !records.has(recordId))
            if (records.size + added.length > maxRecords) {
              return Effect.fail(new DatabaseUnavailable({ reason: "the memory for records is full" }))
            }
            for (const record of added) records.set(record.recordId, record)
            return Effect.void
          }),
        present: (recordIds) => Effect.sync(() => recordIds.filter((id) => records.has(id))),
        rotatePartitions: (retentionDays) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            if (retentionDays === undefined) return 0
            const dropped = new Set<number>()
            for (const { recordId, requestedAt } of records.values()) {
              const day = Math.floor(requestedAt / dayMs)
              if (day >= Math.floor(now / dayMs) - retentionDays) continue
              dropped.add(day)
              records.delete(recordId)
            }
            return dropped.size
          }),
        list: ({ after, limit, user }) =>
          Effect.sync(() =>
            [...records.values()]
              .filter((record) => user === undefined || record.user === user)
              .filter((record) => after === undefined || record.recordId < after)
              .sort((a, b) => (a.recordId < b.recordId ? 1 : -1))
              .slice(0, limit)
          )
      })
    )
  )

  /** In memory, of one instance. */
  static readonly layerMemory = RecordStore.layerShared.pipe(Layer.provide(RecordStoreState.layer))
}
