// Sessions that edit their documents, on hotpath with its write-behind buffer beside the same hotpath without it: the rate
// that each holds, and what an edit costs there; then the buffer at the rate that is held without it, to compare what reaches
// PostgreSQL. If there is time, once more by so few sessions that each of them edits as often as one may: how many edits are
// saved as one is what decides. One side works at a time.
import { bufferReport } from "./buffer-report.ts"
import { BufferSide, isHeld, type Ran } from "./buffer-side.ts"
import type { Options } from "./options.ts"
import type { Processes } from "./processes.ts"

/** Edits a second and session: the most that is tried. */
const most = 10
const lower = [15_000, 10_000, 7000, 5000, 3500, 2500, 1500, 1000, 700, 500, 350, 250, 150, 100] as const

/** Seconds it may take. */
export const bufferLimit = ({ quick }: Options): number => (quick ? 150 : 480)

const below = (rate: number, reached: number) =>
  lower.find((step) => step < rate && step <= reached) ?? Math.ceil(rate / 2)

/** The first rate that is held for a while; from one that isn't, it goes to the next one that may be. */
const search = async (side: BufferSide, from: number, seconds: number): Promise<number> => {
  for (let rate = from; rate > 10; ) {
    const edits = await side.edit(seconds, rate)
    if (isHeld(edits)) return rate
    rate = below(rate, (edits.acknowledged / seconds) * 1.2)
  }
  throw new Error(`${side.name} holds no rate`)
}

/** At a lower rate once more if it isn't held for as long, and there is time. */
const measure = async (side: BufferSide, rate: number, seconds: number, until: number): Promise<Ran> => {
  const ran = await side.measure(seconds, rate)
  if (isHeld(ran.edits) || performance.now() / 1000 > until) return ran
  return side.measure(seconds, below(rate, Number.POSITIVE_INFINITY))
}

export const buffer = async (processes: Processes, options: Options): Promise<string> => {
  const { quick } = options
  const sessions = quick ? 400 : 2000
  const seconds = quick ? 10 : 60
  const searched = quick ? 3 : 6
  // What comes after each of the two, a repetition included.
  const limit = bufferLimit(options)
  const [plainUntil, fastUntil] = [limit - 3.8 * seconds - 65, limit - 2.8 * seconds - 40]
  const plain = await BufferSide.start(processes, "pass-through", "postgres", sessions)
  const buffered = await BufferSide.start(processes, "buffered", "redis", sessions)
  // Once, for what happens the first time.
  for (const side of [plain, buffered]) await side.edit(2, sessions / 4)
  const plainRate = await search(plain, sessions * most, searched)
  const bufferedRate = await search(buffered, sessions * most, searched)
  const plainRan = await measure(plain, plainRate, seconds, plainUntil)
  const fastRan = await measure(buffered, bufferedRate, seconds, fastUntil)
  const plainRound = await plain.settle(plainRan)
  await plain.end()
  const fast = await buffered.settle(fastRan)
  const same = await buffered.settle(await buffered.measure(seconds, plainRan.rate))
  const isTime = performance.now() / 1000 < limit - seconds - 35
  const few = Math.ceil(plainRan.rate / most)
  const dense = isTime ? await buffered.settle(await buffered.measure(seconds, plainRan.rate, few)) : undefined
  await buffered.end()
  return bufferReport({ sessions, plain: plainRound, fast, same, dense })
}
