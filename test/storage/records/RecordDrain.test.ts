// What the drain does with a loss of Redis while Postgres is down: a scripted stream, a store that can be taken away.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { type CallRecord, recordBytes } from "../../../src/domain/CallRecord.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { DeadLetters } from "../../../src/storage/DeadLetters.ts"
import * as RecordDrain from "../../../src/storage/records/RecordDrain.ts"
import { RecordStore } from "../../../src/storage/records/RecordStore.ts"
import { RecordStream } from "../../../src/storage/records/RecordStream.ts"
import { RecordWriter } from "../../../src/storage/records/RecordWriter.ts"
import { UnflushedCopies } from "../../../src/storage/UnflushedCopies.ts"
import * as Faults from "../../../src/testing/Faults.ts"
import { callRecord } from "../../support/CallRecords.ts"

const record = (n: number) => callRecord(`record ${n}`, n)

describe("RecordDrain", () => {
  it.effect("stores what Redis lost while Postgres was down, as soon as Postgres is back", () => {
    const copies = new UnflushedCopies<CallRecord>({ maxBytes: 1_000_000, bytesOf: recordBytes })
    let loss: number | undefined
    const database = Faults.makeSwitch(Faults.away)
    const store = RecordStore.layerMemory.pipe(Faults.inFront(RecordStore, database))
    const stream = Layer.succeed(RecordStream, {
      exists: true,
      hasRoom: () => true,
      append: () => Effect.void,
      claim: () => Effect.succeed([]),
      done: () => Effect.succeed(0),
      sweep: Effect.void,
      state: Effect.succeed({ waiting: 0 }),
      takeLoss: () => {
        const taken = loss
        loss = undefined
        return taken
      },
      copies
    })
    return Effect.gen(function* () {
      for (let n = 0; n < 3; n++) copies.add(record(n).recordId, record(n))
      loss = 3
      yield* TestClock.adjust("5 seconds")
      assert.isAbove(database.given(), 0)
      yield* database.off
      yield* TestClock.adjust("5 seconds")
      const stored = yield* (yield* RecordStore).list({ limit: 10 })
      assert.deepEqual(stored.map(({ recordId }) => recordId).sort(), ["record 0", "record 1", "record 2"])
      assert.strictEqual(copies.size, 0)
      assert.strictEqual((yield* Metrics).recordsCompleted.value, 3)
    }).pipe(
      Effect.provide(
        RecordDrain.layer.pipe(
          Layer.provide(RecordWriter.layer),
          Layer.provide([stream, DeadLetters.layerMemory]),
          Layer.provideMerge(store),
          Layer.provideMerge(Metrics.layer)
        )
      )
    )
  })
})
