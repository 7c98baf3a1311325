// npm run bench -- buffer [--quick] [--sessions=N] [--seconds=N] [--rate=N]: sessions that edit their documents, on hotpath
// with its write-behind buffer (ROOM_WRITES=redis) beside the same hotpath without it (postgres); each with a Redis, a
// PostgreSQL and a load generator of its own, all on this machine, and only one side at work at a time.
//
//   --sessions=N  sessions, each with a room and a document of 1 kB (2,000; 400 with --quick)
//   --seconds=N   how long a measured round takes (20; 10 with --quick)
//   --rate=N      edits/s, the same for both sides. Without it the most that each side holds is found: from what it does when
//                 it is asked for 10 edits/s a session, downwards by a tenth or more until a rate is held for some seconds,
//                 then upwards by a fifth as long as it is
//   --beside=FOLDER  another checkout of hotpath, buffered as well, instead of the one without a buffer
//   --quick       fewer sessions and shorter rounds: about 2 minutes instead of 5
//
// A rate is held when 97% of the edits that are due are acknowledged within the round and a second, 99% of them within a
// second of when they were due. Then each side is measured at what it holds, and the buffered one at what the other holds, to
// compare what an edit costs: CPU of each process, and what PostgreSQL writes. If there is time, once more with so few
// sessions that each of them edits 10 times a second: how many edits are saved as one is what decides.

import type { Options } from "../lib/options.ts"
import type { Processes } from "../lib/processes.ts"
import { bufferReport } from "./buffer-report.ts"
import { BufferSide, isHeld, type Ran } from "./buffer-side.ts"

/** Edits a second and session: the most that is tried. */
const most = 10
/** From a rate that isn't held to the next one that may be, and from one that is to the next one that may not be. */
const [down, up] = [0.9, 1.2]
/** Upwards, at the most. */
const climbs = 3

const sizes = ({ quick, seconds = quick ? 10 : 20, sessions = quick ? 400 : 2000 }: Options) => ({
  seconds,
  sessions,
  searched: quick ? 3 : 4
})

/** Seconds it may take. */
export const bufferLimit = (options: Options): number => {
  const { seconds, sessions } = sizes(options)
  return (options.quick ? 110 : 180) + Math.ceil(sessions / 40) + 5 * seconds
}

const rounded = (rate: number) => Number(rate.toPrecision(2))
const below = (rate: number, reached: number) => Math.max(1, rounded(Math.min(rate * down, reached)))

/** The highest rate that is held for a while, as far as a few tries tell. */
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
    // What was left of a flood may have been in its way: not down to what was reached beside that.
    else rate = below(rate, Math.max(rate * 0.6, edits.inTime / (seconds + 1)))
  }
  if (held === 0) throw new Error(`${side.name} holds no rate`)
  return held
}

/** At lower rates again while it isn't held for as long, and there is time. */
const measure = async (side: BufferSide, rate: number, seconds: number, until: number): Promise<Ran> => {
  const ran = await side.measure(seconds, rate)
  if (isHeld(ran.edits) || performance.now() / 1000 > until) return ran
  return measure(side, below(rate, rate), seconds, until)
}

export const buffer = async (processes: Processes, options: Options): Promise<string> => {
  const { searched, seconds, sessions } = sizes(options)
  const { beside, rate } = options
  // What comes after each of the two, a repetition included.
  const limit = bufferLimit(options)
  const [plainUntil, fastUntil] = [limit - 3.8 * seconds - 65, limit - 2.8 * seconds - 40]
  const plain =
    beside === undefined
      ? await BufferSide.start(processes, "pass-through", "postgres", sessions)
      : await BufferSide.start(processes, "beside", "redis", sessions, beside)
  const buffered = await BufferSide.start(processes, "buffered", "redis", sessions)
  // Once, for what happens the first time.
  for (const side of [plain, buffered]) await side.edit(3, rate ?? Math.ceil(sessions / 10))
  const plainRate = rate ?? (await search(plain, sessions * most, searched))
  const bufferedRate = rate ?? (await search(buffered, sessions * most, searched))
  const [plainStops, fastStops] = rate === undefined ? [plainUntil, fastUntil] : [0, 0]
  const plainRan = await measure(plain, plainRate, seconds, plainStops)
  const fastRan = await measure(buffered, bufferedRate, seconds, fastStops)
  const plainRound = await plain.settle(plainRan)
  await plain.end()
  const fast = await buffered.settle(fastRan)
  const isSame = fast.rate === plainRound.rate
  const same = isSame ? fast : await buffered.settle(await buffered.measure(seconds, plainRound.rate))
  const few = Math.ceil(plainRound.rate / most)
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
