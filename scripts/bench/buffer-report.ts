// The tables of the buffer's benchmark.
import { flushIntervalSeconds, isHeld, type Round } from "./buffer-side.ts"
import { cpuNames } from "./meters.ts"
import { table } from "./report.ts"

interface Results {
  readonly sessions: number
  readonly plain: Round
  /** As fast as it can. */
  readonly fast: Round
  /** As fast as the one without. */
  readonly same: Round
  /** At the same rate, by few. */
  readonly dense: Round | undefined
}

/** Of what the pass-through writes, the buffered one may write this much. */
const mostOfPlain = 1 / 20

const fixed = (value: number) => value.toFixed(value < 10 ? 2 : 0)
const perEdit = ({ edits }: Round, value: number) => value / edits.acknowledged

const share = (ours: number, theirs: number) =>
  `1/${fixed(theirs / ours)}${ours / theirs <= mostOfPlain ? "" : " (too much)"}`

const roundRow = (what: string, rounds: ReadonlyArray<Round>, read: (round: Round) => string) => [
  what,
  ...rounds.map(read)
]

const errorsOf = (name: string, { edits }: Round) => {
  const kinds = Object.entries(edits.errors).map(([kind, times]) => `${times} ${kind}`)
  return `${name}: ${kinds.length === 0 ? "none" : kinds.join(", ")}, ${edits.conflicts} conflicts`
}

export const bufferReport = ({ dense, fast, plain, same, sessions }: Results): string => {
  const own = [fast, same, ...(dense === undefined ? [] : [dense])]
  const names = ["buffered", "same rate", ...(dense === undefined ? [] : [`same rate, ${dense.active} sessions`])]
  const rounds = [plain, ...own]
  const written = [
    ["WAL bytes per edit", (round: Round) => perEdit(round, round.written.wal)],
    ["rows written per edit", (round: Round) => perEdit(round, round.written.rows)],
    ["transactions per edit", (round: Round) => perEdit(round, round.written.transactions)]
  ] as const
  const coalesced = ({ active, rate }: Round) => (rate / active) * flushIntervalSeconds
  const { flushes } = same
  const wholeFlush = (flushes.seconds / flushes.rows) * sessions
  return [
    table(
      ["written per edit, of what the pass-through writes", ...names],
      written.map(([what, read]) => [what, ...own.map((round) => share(read(round), read(plain)))])
    ),
    `At most 1/20 of its WAL and rows is wanted. Edits of a session between two flushes, which are saved as one: ${own.map((round) => fixed(coalesced(round))).join(", ")}.\n\nEdits/s held: ${fixed(fast.rate / plain.rate)} × as many with the buffer.`,
    table(
      [`here (${sessions} sessions, ${plain.seconds} s)`, "pass-through", ...names],
      [
        roundRow("edits/s due", rounds, ({ rate }) => String(rate)),
        roundRow("acknowledged in time", rounds, ({ edits }) => `${((edits.inTime / edits.due) * 100).toFixed(1)}%`),
        roundRow("held", rounds, ({ edits }) => (isHeld(edits) ? "yes" : "no")),
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
        ...written.map(([what, read]) => roundRow(what, rounds, (round) => read(round).toPrecision(3))),
        ...cpuNames.map((name) =>
          roundRow(
            `CPU of ${name}: µs per edit, cores`,
            rounds,
            (round) =>
              `${perEdit(round, round.cpu[name] * 1000).toFixed(0)}, ${(round.cpu[name] / round.seconds / 1000).toFixed(2)}`
          )
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
        roundRow("longest write at most, s", own, (round) => String(round.flushes.longest)),
        roundRow("mean write, s", own, ({ flushes: one }) => (one.seconds / one.count).toPrecision(3)),
        roundRow("event loop delay p99, ms", own, (round) => (round.flushes.delayP99 * 1000).toFixed(1))
      ]
    ),
    `${sessions} documents are saved in ${wholeFlush.toFixed(2)} s of such writes, one after the other (at the same rate).`,
    `WAL with full-page writes, from a checkpoint on; rows and WAL until all was saved; transactions stand for statements, which PostgreSQL does not count: a transaction of the pass-through has several. CPU is of the round alone. The event loop delay is since /metrics' last reset, a minute at most.`,
    `Errors: ${errorsOf("pass-through", plain)}; ${errorsOf("buffered", fast)}${own
      .slice(1)
      .map((round, n) => `; ${errorsOf(names[n + 1] ?? "", round)}`)
      .join("")}.`
  ].join("\n\n")
}
