import { assert, describe, it } from "vitest"
import { isSoak } from "../support/Soak.ts"
import { explain, runSeeds, shrink } from "./Runs.ts"
import { Simulator } from "./Simulation.ts"

interface Seeds {
  readonly from: number
  readonly count: number
  readonly operations?: number
}

/**
 * Always the same seeds. Most have few operations: with 20 a run takes half the time of one that draws how many (72 on
 * average), and as many lives of instances. A soak draws for all of them, and runs others too.
 */
const chosen: Readonly<Record<string, Seeds>> = isSoak
  ? {
      fixed: { from: 1, count: 1000 },
      others: { from: 1_000_000 + Math.floor(Math.random() * 1_000_000_000), count: 10_000 }
    }
  : { long: { from: 1, count: 100 }, short: { from: 101, count: 900, operations: 20 } }

describe("the simulated service", () => {
  const seeds = [1, 2, 3, 4, 5]
  const run = (simulator: Simulator, ofSeeds: ReadonlyArray<number>) =>
    new Map(ofSeeds.map((seed) => [seed, simulator.run({ seed })] as const))

  it("does the same for the same seed, whatever ran before in its process", () => {
    const simulator = new Simulator()
    const first = run(simulator, seeds)
    const second = run(simulator, seeds.toReversed())
    for (const [seed, { counts, hash }] of first) {
      assert.strictEqual(second.get(seed)?.hash, hash, `seed ${seed}`)
      assert.deepEqual(second.get(seed)?.counts, counts)
    }
    assert.strictEqual(new Set([...first.values()].map(({ hash }) => hash)).size, seeds.length)
  })

  it("does the same in another process", async () => {
    const expected: Record<string, number> = {}
    for (const { counts } of run(new Simulator(), seeds).values())
      for (const [name, count] of Object.entries(counts)) expected[name] = (expected[name] ?? 0) + count
    const { counts } = await runSeeds({ from: 1, count: seeds.length, workers: 2 })
    assert.deepEqual(counts, expected)
  })

  it("does the same when it is given as many operations as the seed chooses", () => {
    const simulator = new Simulator()
    const { hash, operations } = simulator.run({ seed: 1 })
    assert.strictEqual(simulator.run({ seed: 1, operations }).hash, hash)
  })

  for (const [name, seeds] of Object.entries(chosen)) {
    it(`keeps its promises: ${seeds.count} seeds from ${seeds.from} (${name})`, { timeout: 3_600_000 }, async () => {
      const { counts, failed } = await runSeeds(seeds)
      console.log(`seeds from ${seeds.from}: ${JSON.stringify(counts)}`)
      const [first] = failed
      assert.isUndefined(first, first && explain(shrink(first)))
    })
  }
})
