// Implements the record part of the operators' API: stored records and dead letters.
import { Effect, Option, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { CallRecord } from "../domain/CallRecord.ts"
import { DeadLetters } from "../storage/DeadLetters.ts"
import { RecordStore } from "../storage/records/RecordStore.ts"
import { AdminApi, InvalidProblem, NotFoundProblem, UnavailableProblem } from "./AdminApi.ts"
import { page } from "./Paging.ts"

const iso = (ms: number) => new Date(ms).toISOString()

const recordItem = (record: CallRecord) => ({
  ...record,
  input: JSON.parse(record.input) as Schema.Json,
  body: JSON.parse(record.body) as Schema.Json,
  requestedAt: iso(record.requestedAt),
  repliedAt: iso(record.repliedAt),
  traceId: record.traceId ?? null
})

const uuid = /^[0-9a-f-]{36}$/
const decodeRecord = Schema.decodeUnknownOption(Schema.fromJsonString(CallRecord))
const asUnavailable = Effect.mapError(() => new UnavailableProblem())
const still = (reason: string) =>
  new InvalidProblem({ field: "record", reason, detail: `the record still can't be stored: ${reason}` })

export const layer = HttpApiBuilder.group(
  AdminApi,
  "records",
  Effect.fnUntraced(function* (handlers) {
    const store = yield* RecordStore
    const dead = yield* DeadLetters
    return handlers.handleAll({
      listRecords: Effect.fnUntraced(function* ({ query }) {
        const { items, next } = yield* page(
          query,
          (after, limit) =>
            store.list({ user: query.user, after: after !== undefined && uuid.test(after) ? after : undefined, limit }),
          ({ recordId }) => recordId
        )
        return { items: items.map(recordItem), next }
      }),
      listDeadRecords: ({ query }) => page(query, dead.list, ({ recordId }) => recordId),
      // Stored first, then removed from the dead letters: after a crash in between it is in both, and a retry is
      // harmless.
      retryDeadRecord: Effect.fnUntraced(function* ({ params: { recordId } }) {
        const found = yield* asUnavailable(dead.get(recordId))
        if (found === undefined) return yield* new NotFoundProblem({ detail: `no dead letter ${recordId}` })
        const record = decodeRecord(found.text)
        if (Option.isNone(record)) return yield* still("not a record")
        yield* store.insert([record.value]).pipe(
          Effect.catchTags({
            DatabaseRefused: ({ sqlState }) => Effect.fail(still(sqlState)),
            DatabaseUnavailable: () => Effect.fail(new UnavailableProblem())
          })
        )
        yield* asUnavailable(dead.remove(recordId))
        return { recordId }
      })
    })
  })
)
