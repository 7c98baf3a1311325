import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { UnflushedCopies } from "../../src/storage/UnflushedCopies.ts"

interface Copy {
  readonly name: string
  readonly bytes: number
}

const make = (bounds: { readonly maxBytes: number; readonly maxEntries?: number }) => {
  let evicted = 0
  const copies = new UnflushedCopies<Copy>({ ...bounds, bytesOf: ({ bytes }) => bytes, onEvicted: () => evicted++ })
  const add = (name: string, bytes = 1) => copies.add(name, { name, bytes })
  return { add, copies, evicted: () => evicted }
}

describe("UnflushedCopies", () => {
  it("keeps the latest copy of a key, in the order of changes", () => {
    const { add, copies, evicted } = make({ maxBytes: 100 })
    add("a", 10)
    add("b", 20)
    add("a", 30)
    assert.deepEqual(copies.keys(), ["b", "a"])
    assert.deepEqual([copies.size, copies.bytes, evicted()], [2, 50, 0])
  })

  it("evicts the oldest copies at either bound, and counts them", () => {
    const { add, copies, evicted } = make({ maxBytes: 100, maxEntries: 3 })
    for (const name of ["a", "b", "c", "d"]) add(name)
    assert.deepEqual(copies.keys(), ["b", "c", "d"])
    add("e", 98)
    assert.deepEqual(copies.keys(), ["c", "d", "e"])
    add("f", 99)
    assert.deepEqual([copies.keys(), copies.bytes, evicted()], [["f"], 99, 5])
  })

  it("confirms by key, or from the oldest up to the first that is not stored", () => {
    const { add, copies, evicted } = make({ maxBytes: 100 })
    for (const name of ["a", "b", "c", "d", "e"]) add(name)
    copies.confirm(["d", "unknown"])
    copies.confirmWhile(({ name }) => name !== "c")
    assert.deepEqual(copies.keys(), ["c", "e"])
    copies.confirmWhile(() => true)
    assert.deepEqual([copies.keys(), copies.bytes, evicted()], [[], 0, 0])
    add("f")
    assert.deepEqual(copies.keys(), ["f"])
  })

  it.effect("replays all copies in chunks, the oldest first, and keeps them until they are confirmed", () =>
    Effect.gen(function* () {
      const { add, copies } = make({ maxBytes: 100_000_000 })
      add("a", 1_000_000)
      add("b", 1_000_000)
      add("c", 5_000_000)
      add("d", 1)
      const chunks: Array<ReadonlyArray<string>> = []
      const replayed = yield* copies.replay((some) => Effect.sync(() => chunks.push(some.map(({ name }) => name))))
      assert.strictEqual(replayed, 4)
      assert.deepEqual(chunks, [["a", "b"], ["c"], ["d"]])
      assert.strictEqual(copies.size, 4)
      assert.strictEqual(yield* Effect.flip(copies.replay(() => Effect.fail("away"))), "away")
      copies.confirm(copies.keys())
      assert.strictEqual(yield* copies.replay(() => Effect.fail("not asked")), 0)
    })
  )
})
