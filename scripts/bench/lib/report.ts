// The tables of the benchmark of calls: ratios first, because they outlast the machine, absolute values below.
import type { Tier } from "../call/tiers.ts"

interface Rounds {
  readonly cpu: Array<number>
  readonly p50: Array<number>
  readonly p99: Array<number>
  readonly perSecond: Array<number>
}

const empty = (): Rounds => ({ cpu: [], p50: [], p99: [], perSecond: [] })
export const noRounds = () => ({ atRate: empty(), saturated: empty() })

export interface Side {
  readonly name: string
  /** At a rate that all sides hold. */
  readonly atRate: Rounds
  readonly saturated: Rounds
  readonly errors: Map<string, number>
  answered: number
}

export interface Idle {
  readonly each: number
  readonly before: number
  readonly total: number
}

export interface Measured extends Side {
  readonly memory: Idle
}

interface Results {
  /** The first one is compared with each of the others. */
  readonly sides: ReadonlyArray<Measured>
  readonly idle: number
  readonly rate: number
  readonly tiers: ReadonlyArray<Tier>
  readonly records: ReadonlyArray<{ readonly table: string; readonly answered: number; readonly stored: number }>
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

/** The ratio of both sides' rounds, each round divided by the one beside it. */
export const ratioRow = (what: string, ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>) => {
  const each = ours.map((value, n) => value / (theirs[n] ?? Number.NaN))
  return [what, median(each).toFixed(2), `${Math.min(...each).toFixed(2)}–${Math.max(...each).toFixed(2)}`]
}

const compared = (own: Measured, other: Measured, rate: number, idle: number) => {
  const once = [
    ["resident memory per idle connection", own.memory.each, other.memory.each],
    [`resident memory with ${idle} idle connections`, own.memory.total, other.memory.total]
  ] as const
  return table(
    [`${own.name} / ${other.name}`, "ratio", "rounds, least–most"],
    [
      ratioRow(`CPU time per call at ${rate} calls/s`, own.atRate.cpu, other.atRate.cpu),
      ratioRow("CPU time per call at saturation", own.saturated.cpu, other.saturated.cpu),
      ratioRow("calls a second at saturation", own.saturated.perSecond, other.saturated.perSecond),
      ratioRow(`p50 at ${rate} calls/s`, own.atRate.p50, other.atRate.p50),
      ratioRow(`p99 at ${rate} calls/s`, own.atRate.p99, other.atRate.p99),
      ...once.map(([what, ours, theirs]) => [what, (ours / theirs).toFixed(2), "measured once"])
    ]
  )
}

export const report = ({ idle, rate, records, sides, tiers }: Results): string => {
  const [own, ...others] = sides
  const row = (what: string, digits: number, of: (side: Measured) => number) => [
    what,
    ...sides.map((side) => of(side).toFixed(digits))
  ]
  const errors = sides.map(({ errors, name }) => {
    const kinds = [...errors].map(([kind, times]) => `${times} ${kind}`)
    return `${name}: ${kinds.length === 0 ? "none" : kinds.join(", ")}`
  })
  return [
    // The leanest peer first: it is the hardest one.
    ...(own === undefined ? [] : others.toReversed().map((other) => compared(own, other, rate, idle))),
    table(
      ["here (medians)", ...sides.map(({ name }) => name)],
      [
        row(`CPU per call at ${rate} calls/s, µs`, 0, ({ atRate }) => median(atRate.cpu)),
        row("CPU per call at saturation, µs", 0, ({ saturated }) => median(saturated.cpu)),
        row("calls a second at saturation", 0, ({ saturated }) => median(saturated.perSecond)),
        row(`p50 at ${rate} calls/s, ms`, 2, ({ atRate }) => median(atRate.p50)),
        row(`p99 at ${rate} calls/s, ms`, 2, ({ atRate }) => median(atRate.p99)),
        row("bytes per idle connection", 0, ({ memory }) => memory.each),
        row("resident MB, no connection", 0, ({ memory }) => memory.before / 1e6),
        row(`resident MB, ${idle} connections`, 0, ({ memory }) => memory.total / 1e6)
      ]
    ),
    ...(tiers.length === 0
      ? []
      : [
          table(
            ["a configuration read by hotpath, µs", "p50", "p99"],
            tiers.map(({ name, p50, p99 }) => [name, p50.toFixed(1), p99.toFixed(1)])
          )
        ]),
    `Errors: ${errors.join("; ")}.\n${records.map((one) => `\`${one.table}\`: ${one.stored} rows for ${one.answered} calls answered.`).join("\n")}`
  ].join("\n\n")
}
