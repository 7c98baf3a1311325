// A fault while it is switched on: what it counted and drew so far.
import type { Fault } from "./Fault.ts"

/** What a call meets, in this order. */
export type Step =
  | { readonly _tag: "Fail" }
  | { readonly _tag: "Hang" }
  | { readonly _tag: "Lose"; readonly hangs: boolean }
  | { readonly _tag: "Delay"; readonly ms: number; readonly isDone: boolean }

export interface FaultRun {
  /** Called once for each call. `ms`: since the fault was switched on. */
  readonly meets: (method: string, ms: number) => ReadonlyArray<Step>
  /** Whether every call of every method fails or hangs at this time: the service is away. */
  readonly isAway: (ms: number) => boolean
  /** The next time at which that may change. */
  readonly nextChange: (ms: number) => number
}

/** mulberry32: numbers from 0 to below 1. */
const makeRandom = (seed: number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const never = { isAway: () => false, nextChange: () => Number.POSITIVE_INFINITY }
const always = { isAway: () => true, nextChange: () => Number.POSITIVE_INFINITY }

/** Whether the steps leave nothing for a fault behind them. */
const isEnd = (steps: ReadonlyArray<Step>) => steps.some(({ _tag }) => _tag === "Fail" || _tag === "Hang")

export const start = ({ shape }: Fault): FaultRun => {
  switch (shape._tag) {
    case "None":
      return { ...never, meets: () => [] }
    case "Away":
      return { ...always, meets: () => [{ _tag: "Fail" }] }
    case "Hanging":
      return { ...always, meets: () => [{ _tag: "Hang" }] }
    case "AnswerLost":
      return { ...never, meets: () => [{ _tag: "Lose", hangs: shape.hangs }] }
    case "Slow":
      return { ...never, meets: () => [{ _tag: "Delay", ms: shape.ms, isDone: shape.isDone }] }
    case "All": {
      const runs = shape.faults.map(start)
      return {
        meets: (method, ms) => {
          const steps: Array<Step> = []
          for (const run of runs) if (!isEnd(steps)) steps.push(...run.meets(method, ms))
          return steps
        },
        isAway: (ms) => runs.some((run) => run.isAway(ms)),
        nextChange: (ms) => Math.min(...runs.map((run) => run.nextChange(ms)))
      }
    }
    case "Every": {
      const run = start(shape.fault)
      const random = shape.seed === undefined ? undefined : makeRandom(shape.seed)
      let calls = 0
      const isIt = () => (random === undefined ? ++calls % shape.every === 0 : random() * shape.every < 1)
      return { ...never, meets: (method, ms) => (isIt() ? run.meets(method, ms) : []) }
    }
    case "Calls": {
      const run = start(shape.fault)
      let calls = 0
      const isWithin = (call: number) => shape.from <= call && call < shape.to
      return {
        meets: (method, ms) => (isWithin(calls++) ? run.meets(method, ms) : []),
        isAway: (ms) => isWithin(calls) && run.isAway(ms),
        nextChange: (ms) => run.nextChange(ms)
      }
    }
    case "Time": {
      const run = start(shape.fault)
      const isWithin = (ms: number) => shape.fromMs <= ms && ms < shape.toMs
      return {
        meets: (method, ms) => (isWithin(ms) ? run.meets(method, ms) : []),
        isAway: (ms) => isWithin(ms) && run.isAway(ms),
        nextChange: (ms) => Math.min(...[shape.fromMs, shape.toMs].filter((at) => at > ms), run.nextChange(ms))
      }
    }
    case "Methods": {
      const run = start(shape.fault)
      return { ...never, meets: (method, ms) => (shape.matches(method) ? run.meets(method, ms) : []) }
    }
  }
}
