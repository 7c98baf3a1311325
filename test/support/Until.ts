// Waits for a state that can be read, for so long and no longer.
import { setTimeout } from "node:timers/promises"
import { patienceMs } from "./Patience.ts"

/** Between two looks: short at first, for what happens in this process. */
const [firstMs, mostMs] = [1, 20]

export const until = async (
  isSo: () => boolean | Promise<boolean>,
  what: string,
  limitMs = patienceMs
): Promise<void> => {
  const began = Date.now()
  for (let pauseMs = firstMs; !(await isSo()); pauseMs = Math.min(mostMs, pauseMs * 2)) {
    if (Date.now() - began > limitMs) throw new Error(`waited ${limitMs} ms for ${what}`)
    await setTimeout(pauseMs)
  }
}

/** Waits until the clock shows a later millisecond, for what is put in order by its time. */
export const laterMillisecond = async (): Promise<void> => {
  const began = Date.now()
  while (Date.now() === began) await new Promise(setImmediate)
}
