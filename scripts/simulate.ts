// Simulates runs of many seeds, or one of them with its steps. Exits with 1 if an invariant was violated.
import { parseArgs } from "node:util"
import { explain, runSeeds, shrink } from "../test/simulation/Runs.ts"
import { Simulator } from "../test/simulation/Simulation.ts"

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    seed: { type: "string" },
    operations: { type: "string" },
    workers: { type: "string" }
  }
})
const number = (name: keyof typeof values): number | undefined => {
  const value = values[name]
  if (value === undefined) return undefined
  if (!/^\d{1,10}$/.test(value)) {
    console.error(`--${name} wants a number, not ${value}`)
    process.exit(2)
  }
  return Number(value)
}

const [seed, seeds, operations, workers] = [number("seed"), number("seeds"), number("operations"), number("workers")]

if (seed !== undefined && seeds === undefined) {
  const outcome = new Simulator().run({ seed, isTraced: true, ...(operations !== undefined && { operations }) })
  console.log(explain(outcome, Number.POSITIVE_INFINITY))
  console.log(JSON.stringify(outcome.counts), `hash ${outcome.hash}`)
  process.exit(outcome.violations.length > 0 ? 1 : 0)
}

const from = seed ?? 1
const count = seeds ?? 1000
const began = Date.now()
const {
  counts,
  failed,
  seeds: done
} = await runSeeds({
  from,
  count,
  operations,
  ...(workers !== undefined && { workers }),
  progress: (finished) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${finished} of ${count}`)
  }
})
for (const outcome of failed.slice(0, 3)) console.log(explain(shrink(outcome)))
const rate = (done / Math.max(1, Date.now() - began)) * 1000
console.log(
  Object.entries(counts)
    .map(([name, sum]) => `${sum} ${name}`)
    .join(", ")
)
console.log(
  `${done} seeds from ${from}, ${rate.toFixed(1)} a second, ${failed.length} failed: ${failed.map((one) => one.seed).join(" ")}`
)
process.exit(failed.length > 0 ? 1 : 0)
