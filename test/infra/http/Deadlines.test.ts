import { afterEach, assert, beforeEach, describe, it, vi } from "vitest"
import { Deadlines } from "../../../src/infra/http/Deadlines.ts"

describe("deadlines", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it("expire never early, each once, and not at all when they were taken away", () => {
    const deadlines = new Deadlines()
    const expired: Array<readonly [name: string, at: number]> = []
    const began = performance.now()
    const add = (name: string, ms: number) =>
      deadlines.add(ms, { expire: () => expired.push([name, performance.now() - began]) })
    add("first", 100)
    const forget = add("forgotten", 101)
    add("second", 101)
    vi.advanceTimersByTime(33)
    add("third", 100)
    const alone = add("forgotten, alone", 500)
    forget()
    alone()
    vi.advanceTimersByTime(1000)
    assert.deepEqual(
      expired.map(([name]) => name),
      ["first", "second", "third"]
    )
    for (const [index, least] of [100, 101, 133].entries()) {
      const [, at = 0] = expired[index] ?? []
      assert.isTrue(at >= least && at <= least + 12, `${at} of ${least}`)
    }
    // Nothing happens to one that has expired.
    forget()
    assert.strictEqual(vi.getTimerCount(), 0)
  })
})
