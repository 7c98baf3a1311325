import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { makeRecordIds } from "../../src/domain/Ids.ts"

const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const timeOf = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

describe("record ids", () => {
  it.prop(
    "are UUIDs of version 7, each greater than the one before, whatever the clock does",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1_700_000_000_000, maximum: 1_700_000_000_003 })))],
    ([times]) => {
      const makeRecordId = makeRecordIds()
      const ids = times.map((time) => makeRecordId(time))
      for (const id of ids) assert.match(id, uuidV7)
      assert.deepEqual(ids, ids.toSorted())
      assert.strictEqual(new Set(ids).size, ids.length)
    }
  )

  it("hold the time of the request", () => {
    const makeRecordId = makeRecordIds()
    for (const time of [1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001])
      assert.strictEqual(timeOf(makeRecordId(time)), time)
  })

  it("take the next millisecond after 4,096 in one", () => {
    const makeRecordId = makeRecordIds()
    const ids = Array.from({ length: 4_098 }, () => makeRecordId(1_700_000_000_000))
    assert.deepEqual(ids, ids.toSorted())
    assert.strictEqual(timeOf(ids[4_095] ?? ""), 1_700_000_000_000)
    assert.strictEqual(timeOf(ids[4_096] ?? ""), 1_700_000_000_001)
  })
})
