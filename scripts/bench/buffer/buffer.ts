// npm run bench -- buffer [--quick] [--sessions=N] [--seconds=N] [--rate=N]: sessions that edit their documents, on hotpath
// with its write-behind buffer (ROOM_WRITES=redis), beside hotpath without it (postgres). Each side has its own Redis, PostgreSQL
// and load generator, all on this machine; only one side works at a time.
//
//   --sessions=N  sessions, each with a room and a document of 1 kB (2,000; 400 with --quick)
//   --seconds=N   how long a measured round takes (20; 10 with --quick)
//   --rate=N      edits/s, the same for both sides. Without it the highest rate that each side sustains is searched for: starting
//                 at 10 edits/s per session, down by a tenth or more until a rate is sustained for some seconds, then up by a
//                 fifth while it is
//   --beside=FOLDER  another checkout of hotpath, buffered as well, instead of the one without a buffer
//   --quick       fewer sessions and shorter rounds: about 2 minutes instead of 5
//
// A rate is sustained if 97% of the due edits are acknowledged within the round plus one second, and 99% of those within a second
// of their due time. Then each side is measured at its own rate, and the buffered side at the direct side's rate as well, to
// compare the cost of an edit: CPU of each process, and what PostgreSQL writes. If time permits, once more with so few sessions
// that each edits 10 times a second: the number of edits saved as one row decides the cost.

import type { Options } from "../lib/options.ts"
import type { Processes } from "../lib/processes.ts"
import { bufferReport } from "./buffer-report.ts"
import { BufferSide, isHeld, type Ran } from "./buffer-side.ts"

/** The highest rate that is tried, in edits per second and session. */
const maxRate = 10
/** Factor from a rate that is not sustained to the next one to try, and from one that is. */
const [down, up] = [0.9, 1.2]
/** Maximum number of steps up. */
const climbs = 3

const sizes = ({ quick, seconds = quick ? 10 : 20, sessions = quick ? 400 : 2000 }: Options) => ({
  seconds,
  sessions,
  searched: quick ? 3 : 4
})

/** Time limit in seconds. */
export const bufferLimit = (options: Options): number => {
  const { seconds, sessions } = sizes(options)
  return (options.quick ? 110 : 180) + Math.ceil(sessions / 40) + 5 * seconds
}

const rounded = (rate: number) => Number(rate.toPrecision(2))
const below = (rate: number, reached: number) => Math.max(1, rounded(Math.min(rate * down, reached)))

/** The highest sustained rate, estimated by a few tries. */
const search = async (side: BufferSide, from: number, seconds: number): Promise<number> => {
  const flood = await side.edit(seconds, from)
  if (isHeld(flood)) return from
  let rate = below(from, flood.inTime / (seconds + 1))
  let held = 0
  for (let climbed = 0; rate > 10 && climbed < climbs; ) {
    const edits = await side.edit(seconds, rate)
    if (isHeld(edits)) {
      held = rate
      climbed++
      rate = rounded(rate * up)
    } else if (held > 0) break
    // Work left over from the flood may have slowed this try: do not go down to the rate that was reached beside it.
    else rate = below(rate, Math.max(rate * 0.6, edits.inTime / (seconds + 1)))
  }
  if (held === 0) throw new Error(`${side.name} holds no rate`)
  return held
}

/** Repeats at lower rates while the rate is not sustained for the whole round and time permits. */
const measure = async (side: BufferSide, rate: number, seconds: number, until: number): Promise<Ran> => {
  const ran = await side.measure(seconds, rate)
  if (isHeld(ran.edits) || performance.now() / 1000 > until) return ran
  return measure(side, below(rate, rate), seconds, until)
}

export const buffer = async (processes: Processes, options: Options): Promise<string> => {
  const { searched, seconds, sessions } = sizes(options)
  const { beside, rate } = options
  // Reserves the time of the steps that follow each of the two, including one repetition.
  const limit = bufferLimit(options)
  const [plainUntil, fastUntil] = [limit - 3.8 * seconds - 65, limit - 2.8 * seconds - 40]
  const plain =
    beside === undefined
      ? await BufferSide.start(processes, "pass-through", "postgres", sessions)
      : await BufferSide.start(processes, "beside", "redis", sessions, beside)
  const buffered = await BufferSide.start(processes, "buffered", "redis", sessions)
  // Warm-up.
  for (const side of [plain, buffered]) await side.edit(3, rate ?? Math.ceil(sessions / 10))
  const plainRate = rate ?? (await search(plain, sessions * maxRate, searched))
  const bufferedRate = rate ?? (await search(buffered, sessions * maxRate, searched))
  const [plainStops, fastStops] = rate === undefined ? [plainUntil, fastUntil] : [0, 0]
  const plainRan = await measure(plain, plainRate, seconds, plainStops)
  const fastRan = await measure(buffered, bufferedRate, seconds, fastStops)
  const plainRound = await plain.settle(plainRan)
  await plain.end()
  const fast = await buffered.settle(fastRan)
  const isSame = fast.rate === plainRound.rate
  const same = isSame ? fast : await buffered.settle(await buffered.measure(seconds, plainRound.rate))
  const few = Math.ceil(plainRound.rate / maxRate)
  const isTime = few < sessions && performance.now() / 1000 < limit - seconds - 35
  const dense = isTime ? await buffered.settle(await buffered.measure(seconds, plainRound.rate, few)) : undefined
  await buffered.end()
  return bufferReport({
    sessions,
    plain: plainRound,
    fast,
    same,
    dense,
    isGiven: rate !== undefined,
    other: plain.name
  })
}
