// The tables of the buffer's benchmark.

import { table } from "../lib/report.ts"
import { flushIntervalSeconds, isHeld, type Round } from "./buffer-side.ts"
import { cpuNames } from "./meters.ts"

interface Results {
  readonly sessions: number
  readonly plain: Round
  /** At the highest rate it sustains. */
  readonly fast: Round
  /** At the rate that the direct side sustains. */
  readonly same: Round
  /** At the same rate, with few sessions. */
  readonly dense: Round | undefined
  /** The rate was given, not found. */
  readonly isGiven: boolean
  /** What the other side is called. */
  readonly other: string
}

/** The buffered side may write this share of what the direct side writes. */
const mostOfPlain = 1 / 20

const fixed = (value: number) => value.toFixed(value < 10 ? 2 : 0)
const perEdit = ({ edits }: Round, value: number) => value / edits.acknowledged

const share = (ours: number, theirs: number) =>
  Number.isNaN(ours) ? "not counted" : `1/${fixed(theirs / ours)}${ours / theirs <= mostOfPlain ? "" : " (too much)"}`

const roundRow = (what: string, rounds: ReadonlyArray<Round>, read: (round: Round) => string) => [
  what,
  ...rounds.map(read)
]

const errorsOf = (name: string, { edits }: Round) => {
  const kinds = Object.entries(edits.errors).map(([kind, times]) => `${times} ${kind}`)
  return `${name}: ${kinds.length === 0 ? "none" : kinds.join(", ")}, ${edits.conflicts} conflicts`
}

const written = [
  ["WAL bytes per edit", (round: Round) => perEdit(round, round.written.wal)],
  ["rows written per edit", (round: Round) => perEdit(round, round.written.rows)],
  ["statements per edit", (round: Round) => perEdit(round, round.written.statements)],
  ["transactions per edit", (round: Round) => perEdit(round, round.written.transactions)]
] as const

const counted = (value: number) => (Number.isNaN(value) ? "not counted" : value.toPrecision(3))

/** At the same rate; ratios to the direct side. */
const comparison = (plain: Round, same: Round, other: string) => {
  const row = (what: string, read: (round: Round) => number) => {
    const [theirs, ours] = [read(plain), read(same)]
    return [what, counted(theirs), counted(ours), counted(ours / theirs)]
  }
  return table(
    [`at the same rate, ${plain.rate} edits/s`, other, "buffered", "ratio"],
    [
      row("acknowledged, p50 ms", ({ edits }) => edits.p50),
      row("acknowledged, p99 ms", ({ edits }) => edits.p99),
      ...written.map(([what, read]) => row(what, read)),
      ...cpuNames.map((name) => row(`CPU of ${name} per edit, µs`, (round) => perEdit(round, round.cpu[name] * 1000))),
      row("CPU of all three servers per edit, µs", (round) =>
        perEdit(round, (round.cpu.hotpath + round.cpu.redis + round.cpu.postgres) * 1000)
      )
    ]
  )
}

const held = ({ edits, rate }: Round) => `${rate}${isHeld(edits) ? "" : " (not held)"}`

export const bufferReport = ({ dense, fast, isGiven, other, plain, same, sessions }: Results): string => {
  const isOne = fast === same
  const own = [fast, ...(isOne ? [] : [same]), ...(dense === undefined ? [] : [dense])]
  const names = [
    "buffered",
    ...(isOne ? [] : ["same rate"]),
    ...(dense === undefined ? [] : [`same rate, ${dense.active} sessions`])
  ]
  const rounds = [plain, ...own]
  const coalesced = ({ active, rate }: Round) => (rate / active) * flushIntervalSeconds
  const { flushes } = same
  const wholeFlush = (flushes.seconds / flushes.rows) * sessions
  return [
    table(
      [`edits/s ${isGiven ? "as given" : "sustained"}, ${sessions} sessions`, other, "buffered", "ratio"],
      [["", held(plain), held(fast), fixed(fast.rate / plain.rate)]]
    ),
    comparison(plain, same, other),
    table(
      [`written per edit, of what ${other} writes`, ...names],
      written.map(([what, read]) => [what, ...own.map((round) => share(read(round), read(plain)))])
    ),
    `The target is at most 1/20 of its WAL and rows. Edits of a session between two flushes, which are saved as one: ${own.map((round) => fixed(coalesced(round))).join(", ")}.`,
    table(
      [`here (${sessions} sessions, ${plain.seconds} s)`, other, ...names],
      [
        roundRow("edits/s due", rounds, ({ rate }) => String(rate)),
        roundRow("acknowledged in time", rounds, ({ edits }) => `${((edits.inTime / edits.due) * 100).toFixed(1)}%`),
        roundRow("sustained", rounds, ({ edits }) => (isHeld(edits) ? "yes" : "no")),
        roundRow(
          "acknowledged p50 / p99 after it was due, ms",
          rounds,
          ({ edits }) => `${fixed(edits.p50)} / ${fixed(edits.p99)}`
        ),
        roundRow(
          "p50 / p99 after it was sent, ms",
          rounds,
          ({ edits }) => `${fixed(edits.sentP50)} / ${fixed(edits.sentP99)}`
        ),
        ...written.map(([what, read]) => roundRow(what, rounds, (round) => counted(read(round)))),
        ...cpuNames.map((name) =>
          roundRow(
            `CPU of ${name}: µs per edit, cores`,
            rounds,
            (round) =>
              `${perEdit(round, round.cpu[name] * 1000).toFixed(0)}, ${(round.cpu[name] / round.seconds / 1000).toFixed(2)}`
          )
        ),
        roundRow("other processes of this machine: cores", rounds, ({ cpu, seconds }) =>
          Number.isNaN(cpu.others) ? "not counted" : (cpu.others / seconds / 1000).toFixed(2)
        )
      ]
    ),
    table(
      [`flushes (every ${flushIntervalSeconds} s)`, ...names],
      [
        roundRow(
          "writes, documents of each",
          own,
          ({ flushes: { count, rows } }) => `${count}, ${fixed(rows / count)}`
        ),
        roundRow("longest write, upper bound, s", own, (round) => String(round.flushes.longest)),
        roundRow("mean write, s", own, ({ flushes: one }) => (one.seconds / one.count).toPrecision(3)),
        roundRow("event loop delay p99, ms", own, (round) => (round.flushes.delayP99 * 1000).toFixed(1))
      ]
    ),
    `${sessions} documents are saved in ${wholeFlush.toFixed(2)} s of such writes, one after the other (at the same rate).`,
    `WAL includes full-page writes, starting at a checkpoint; rows and WAL are counted until everything was saved. Statements are counted by pg_stat_statements, if available. CPU is that of the round only; other processes lower the sustained rate, and hardly change the CPU per edit. The event loop delay covers the time since /metrics' last reset, at most a minute.`,
    `Errors: ${errorsOf(other, plain)}; ${errorsOf("buffered", fast)}${own
      .slice(1)
      .map((round, n) => `; ${errorsOf(names[n + 1] ?? "", round)}`)
      .join("")}.`
  ].join("\n\n")
}
