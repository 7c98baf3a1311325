// Waits for a state that can be read, for so long and no longer.
import { setInterval } from "node:timers/promises"
import { patienceMs } from "./Patience.ts"

export const until = async (
  isSo: () => boolean | Promise<boolean>,
  what: string,
  limitMs = patienceMs
): Promise<void> => {
  const began = Date.now()
  if (await isSo()) return
  for await (const _ of setInterval(20)) {
    if (await isSo()) return
    if (Date.now() - began > limitMs) throw new Error(`waited ${limitMs} ms for ${what}`)
  }
}

/** Waits until the clock shows a later millisecond, for what is put in order by its time. */
export const laterMillisecond = async (): Promise<void> => {
  const began = Date.now()
  while (Date.now() === began) await new Promise(setImmediate)
}
