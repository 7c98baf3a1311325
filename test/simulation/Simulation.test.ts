import { assert, describe, it } from "vitest"
import { explain, runSeeds, shrink } from "./Runs.ts"
import { Simulator } from "./Simulation.ts"

/** Always the same seeds, and others each time. */
const fixed = { from: 1, count: 800 }
const others = { from: 1_000_000 + Math.floor(Math.random() * 1_000_000_000), count: 200 }

describe("the simulated service", () => {
  const simulator = new Simulator()

  it("does the same for the same seed", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const [first, second] = [simulator.run({ seed }), simulator.run({ seed })]
      assert.strictEqual(second.hash, first.hash, `seed ${seed}`)
      assert.deepEqual(second.counts, first.counts)
    }
    assert.notStrictEqual(simulator.run({ seed: 1 }).hash, simulator.run({ seed: 2 }).hash)
  })

  for (const [name, seeds] of Object.entries({ fixed, others })) {
    it(`keeps its promises: ${seeds.count} seeds from ${seeds.from} (${name})`, { timeout: 300_000 }, async () => {
      const { counts, failed } = await runSeeds(seeds)
      console.log(`seeds from ${seeds.from}: ${JSON.stringify(counts)}`)
      const [first] = failed
      assert.isUndefined(first, first && explain(shrink(first)))
    })
  }
})
