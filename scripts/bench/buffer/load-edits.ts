// The sessions of the buffer's benchmark, as a separate process. Reads commands from stdin and prints one line per command:
// "open" opens all sessions; "run SECONDS RATE ACTIVE" lets ACTIVE sessions together edit at that rate, evenly spread.
import { createInterface } from "node:readline"
import { setTimeout as pause } from "node:timers/promises"
import { machineMs } from "../lib/machine-clock.ts"
import { patiently } from "../lib/patiently.ts"
import { Editor } from "./editor.ts"

/** Results of a run; times in milliseconds. */
export interface Edits {
  readonly due: number
  /** Acknowledged before the run ended, plus one second for the last ones. */
  readonly inTime: number
  readonly acknowledged: number
  readonly conflicts: number
  /** Latency counted from the time an edit was due. */
  readonly p50: number
  readonly p99: number
  /** Latency counted from the time an edit was sent. */
  readonly sentP50: number
  readonly sentP99: number
  readonly errors: Readonly<Record<string, number>>
}

const graceMs = 1000
const openedAtOnce = 20

const { URL: address = "", SESSIONS = "2000" } = process.env
const url = new URL(address)
const count = Number(SESSIONS)

const editors: Array<Editor> = []
const errors = new Map<string, number>()
let times: Array<number> = []
let sentTimes: Array<number> = []
let inTime = 0
let conflicts = 0
let endsAt = 0

const say = (what: unknown) => console.log(JSON.stringify(what))
const fail = (kind: string, more = 1) => {
  if (more > 0) errors.set(kind, (errors.get(kind) ?? 0) + more)
}
const percentile = (values: ReadonlyArray<number>, p: number) =>
  Float64Array.from(values).sort()[Math.floor(values.length * p)] ?? 0

const watcher = {
  acknowledged: (due: number, sent: number) => {
    const now = machineMs()
    times.push(now - due)
    sentTimes.push(now - sent)
    if (now <= endsAt + graceMs) inTime++
  },
  conflict: () => {
    conflicts++
  },
  refused: (kind: string) => fail(`refused (${kind})`)
}

const open = async () => {
  let next = 0
  const opening = async () => {
    while (next < count) {
      const n = next++
      const lost = (reason: string) => fail(`connection lost (${reason})`)
      editors.push(await patiently(() => Editor.open(url, `editor${n}`, lost, watcher)))
    }
  }
  await Promise.all(Array.from({ length: openedAtOnce }, opening))
}

const run = async (seconds: number, rate: number, active: number): Promise<Edits> => {
  errors.clear()
  times = []
  sentTimes = []
  inTime = 0
  conflicts = 0
  const at = machineMs() + 50
  endsAt = at + seconds * 1000
  const due = Math.round(seconds * rate)
  const dueAt = (n: number) => at + (n * 1000) / rate
  for (let n = 0; n < due; ) {
    for (const now = machineMs(); n < due && dueAt(n) <= now; n++) editors[n % active]?.due(dueAt(n))
    await pause(2)
  }
  while (machineMs() < endsAt + graceMs && inTime < due) await pause(10)
  const unsent = editors.reduce((sum, editor) => sum + editor.forget(), 0)
  for (let left = 100; left > 0 && editors.some((editor) => !editor.isIdle); left--) await pause(100)
  fail("not sent in time", unsent)
  fail("unanswered", editors.filter((editor) => !editor.isIdle).length)
  return {
    due,
    inTime,
    acknowledged: times.length,
    conflicts,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    sentP50: percentile(sentTimes, 0.5),
    sentP99: percentile(sentTimes, 0.99),
    errors: Object.fromEntries(errors)
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, seconds = 1, rate = 1, active = count] = line
    .split(" ")
    .map((part, n) => (n === 0 ? part : Number(part)))
  if (command === "open") {
    await open()
    say({ opened: editors.length })
  } else say(await run(Number(seconds), Number(rate), Number(active)))
}
process.exit(0)
