// Many seeds over all cores: each worker is a process of its own that simulates every n-th seed.
import { fork } from "node:child_process"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { type Outcome, Simulator } from "./Simulation.ts"

export interface RunsOptions {
  readonly from: number
  readonly count: number
  /** Of every run; without it each seed draws its own. */
  readonly operations?: number | undefined
  readonly workers?: number
  /** Called every now and then with how many are done. */
  readonly progress?: (done: number) => void
}

export interface Runs {
  readonly seeds: number
  readonly failed: ReadonlyArray<Outcome>
  readonly counts: Readonly<Record<string, number>>
}

/** What a worker is told, and what it tells. */
export interface Share {
  readonly from: number
  readonly count: number
  readonly operations?: number | undefined
  readonly step: number
}
export interface Report {
  readonly done: number
  readonly failed: ReadonlyArray<Outcome>
  readonly counts: Readonly<Record<string, number>>
}

/** Failing runs that are kept. */
const maxFailed = 20
const reportEvery = 25

const add = (sums: Record<string, number>, counts: Readonly<Record<string, number>>) => {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count
}

/** Simulates the seeds of a share, and reports now and then. */
export const work = ({ count, from, operations, step }: Share, report: (report: Report) => void): void => {
  let [done, counts]: [number, Record<string, number>] = [0, {}]
  let failed: Array<Outcome> = []
  const flush = () => {
    report({ done, failed, counts })
    ;[done, counts, failed] = [0, {}, []]
  }
  const simulator = new Simulator()
  for (let index = 0; index < count; index++) {
    const outcome = simulator.run({ seed: from + index * step, operations })
    done++
    add(counts, outcome.counts)
    if (outcome.violations.length > 0) failed.push(outcome)
    if (done === reportEvery) flush()
  }
  flush()
}

const workerFile = fileURLToPath(new URL("./RunsWorker.ts", import.meta.url))

export const runSeeds = async ({
  count,
  from,
  operations,
  progress,
  workers = availableParallelism()
}: RunsOptions): Promise<Runs> => {
  const counts: Record<string, number> = {}
  const failed: Array<Outcome> = []
  let done = 0
  const one = (index: number) =>
    new Promise<void>((resolve, reject) => {
      const share: Share = {
        from: from + index,
        step: workers,
        count: Math.ceil((count - index) / workers),
        operations
      }
      const child = fork(workerFile, { execArgv: [] })
      child.on("message", (report: Report) => {
        done += report.done
        add(counts, report.counts)
        failed.push(...report.failed.slice(0, maxFailed - failed.length))
        progress?.(done)
      })
      child.on("error", reject)
      child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))))
      child.send(share)
    })
  await Promise.all(Array.from({ length: Math.min(workers, count) }, (_, index) => one(index)))
  return { seeds: done, failed: failed.toSorted((a, b) => a.seed - b.seed), counts }
}

/** The same violation with as few operations as are tried: half of them, again and again, then three quarters. */
export const shrink = (outcome: Outcome): Outcome => {
  const { operations, seed, violations } = outcome
  const simulator = new Simulator()
  const [first] = violations
  let best = operations
  const fails = (count: number) =>
    simulator.run({ seed, operations: count }).violations.some(({ invariant }) => invariant === first?.invariant)
  for (const share of [0.5, 0.75]) {
    for (let count = Math.floor(best * share); count > 0 && fails(count); count = Math.floor(best * share)) best = count
  }
  const again = simulator.run({ seed, operations: best, isTraced: true })
  return again.violations.length > 0 ? again : outcome
}

/** What a person needs to see of a failed run. */
export const explain = ({ operations, seed, trace, violations }: Outcome, steps = 200): string =>
  [
    `seed ${seed} ${violations.length > 0 ? "fails" : "passes"} with ${operations} operations:`,
    ...violations.map(({ invariant, what }) => `  ${invariant}: ${what}`),
    `its last steps (s, process, what):`,
    ...trace.slice(-steps),
    `again: scripts/simulate --seed ${seed} --operations ${operations}`
  ].join("\n")
