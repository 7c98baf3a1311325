// The tables of the benchmark of calls: ratios first, because they outlast the machine, absolute values below.
import type { Tier } from "../call/tiers.ts"

export interface Side {
  readonly name: string
  readonly cpu: Array<number>
  readonly p50: Array<number>
  readonly p99: Array<number>
  readonly errors: Map<string, number>
  answered: number
}

export interface Idle {
  readonly each: number
  readonly before: number
  readonly total: number
}

interface Results {
  readonly sides: readonly [Side, Side]
  readonly memory: readonly [Idle, Idle]
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

export const report = ({ idle, memory, rate, records, sides, tiers }: Results): string => {
  const [own, other] = sides
  const [ownMemory, otherMemory] = memory
  const rounds = [
    [`CPU time per call`, own.cpu, other.cpu],
    [`p50 at ${rate} calls/s`, own.p50, other.p50],
    [`p99 at ${rate} calls/s`, own.p99, other.p99]
  ] as const
  const ratios = rounds.map(([what, ours, theirs]) => ratioRow(what, ours, theirs))
  const once = [
    ["resident memory per idle connection", ownMemory.each, otherMemory.each],
    [`resident memory with ${idle} idle connections`, ownMemory.total, otherMemory.total]
  ] as const
  const errors = sides.map(({ errors, name }) => {
    const kinds = [...errors].map(([kind, times]) => `${times} ${kind}`)
    return `${name}: ${kinds.length === 0 ? "none" : kinds.join(", ")}`
  })
  return [
    table(
      [`${own.name} / ${other.name}`, "ratio", "rounds, least–most"],
      [...ratios, ...once.map(([what, ours, theirs]) => [what, (ours / theirs).toFixed(2), "measured once"])]
    ),
    table(
      ["here (medians)", own.name, other.name],
      [
        ["CPU per call, µs", median(own.cpu).toFixed(0), median(other.cpu).toFixed(0)],
        ["p50, ms", median(own.p50).toFixed(2), median(other.p50).toFixed(2)],
        ["p99, ms", median(own.p99).toFixed(2), median(other.p99).toFixed(2)],
        ["bytes per idle connection", ownMemory.each.toFixed(0), otherMemory.each.toFixed(0)],
        ["resident MB, no connection", (ownMemory.before / 1e6).toFixed(0), (otherMemory.before / 1e6).toFixed(0)],
        [`resident MB, ${idle} connections`, (ownMemory.total / 1e6).toFixed(0), (otherMemory.total / 1e6).toFixed(0)]
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
