// Descriptions of faults: immutable values, which a FaultSwitch puts in front of services. What is drawn at random is
// drawn from the fault's seed, so the same calls in the same order meet the same faults again.
//
// Faults in one `all` are in front of each other like proxies on a line: the first one is met first, and a call that it
// fails does not reach the next.
import { Duration, Pipeable } from "effect"

export type FaultShape =
  | { readonly _tag: "None" }
  | { readonly _tag: "Away" }
  | { readonly _tag: "Hanging" }
  | { readonly _tag: "AnswerLost"; readonly hangs: boolean }
  | { readonly _tag: "Slow"; readonly ms: number; readonly isDone: boolean }
  | { readonly _tag: "All"; readonly faults: ReadonlyArray<Fault> }
  | { readonly _tag: "Every"; readonly every: number; readonly seed: number | undefined; readonly fault: Fault }
  /** From the n-th call to before the m-th. */
  | { readonly _tag: "Calls"; readonly from: number; readonly to: number; readonly fault: Fault }
  | { readonly _tag: "Time"; readonly fromMs: number; readonly toMs: number; readonly fault: Fault }
  | { readonly _tag: "Methods"; readonly matches: (method: string) => boolean; readonly fault: Fault }

export class Fault extends Pipeable.Class {
  readonly shape: FaultShape
  constructor(shape: FaultShape) {
    super()
    this.shape = shape
  }
}

export interface Chance {
  /** One call in so many; by default every one. Without a seed exactly every n-th, beginning with the n-th. */
  readonly every?: number
  /** Drawn at random from this seed: each call with the chance 1 in `every`. */
  readonly seed?: number
}

const sometimes = ({ every = 1, seed }: Chance, fault: Fault): Fault =>
  every === 1 ? fault : new Fault({ _tag: "Every", every, seed, fault })

/** Every call goes through. */
export const none = new Fault({ _tag: "None" })

/** Fails at once: nothing happened, and the error says so. */
export const away = new Fault({ _tag: "Away" })

/** Never answers: nothing happened. A port with a deadline fails at it, as it does when its store does not answer. */
export const hanging = new Fault({ _tag: "Hanging" })

/** The call arrives late, on Effect's clock. */
export const slow = (duration: Duration.Input): Fault =>
  new Fault({ _tag: "Slow", ms: Duration.toMillis(duration), isDone: false })

/** The call is done at once, and its answer arrives late, on Effect's clock. */
export const slowAnswer = (duration: Duration.Input): Fault =>
  new Fault({ _tag: "Slow", ms: Duration.toMillis(duration), isDone: true })

/** Fails before anything happened. */
export const failing = (chance: Chance = {}): Fault => sometimes(chance, away)

/** Done, and the answer lost: the caller gets an error that leaves open what happened. `hangs`: it gets nothing. */
export const answerLost = ({ hangs = false, ...chance }: Chance & { readonly hangs?: boolean } = {}): Fault =>
  sometimes(chance, new Fault({ _tag: "AnswerLost", hangs }))

/** The call is lost: neither done nor answered. */
export const lossy = (chance: Chance): Fault => sometimes(chance, hanging)

/** In order: a call meets the first fault first. */
export const all = (...faults: ReadonlyArray<Fault>): Fault => new Fault({ _tag: "All", faults })

/** For so long since it was switched on; afterwards every call goes through. */
export const during =
  (duration: Duration.Input) =>
  (fault: Fault): Fault =>
    new Fault({ _tag: "Time", fromMs: 0, toMs: Duration.toMillis(duration), fault })

/** So long after it was switched on; until then every call goes through. */
export const after =
  (duration: Duration.Input) =>
  (fault: Fault): Fault =>
    new Fault({ _tag: "Time", fromMs: Duration.toMillis(duration), toMs: Number.POSITIVE_INFINITY, fault })

/** Only the first calls. */
export const first =
  (calls: number) =>
  (fault: Fault): Fault =>
    new Fault({ _tag: "Calls", from: 0, to: calls, fault })

/** All calls but the first ones. */
export const afterFirst =
  (calls: number) =>
  (fault: Fault): Fault =>
    new Fault({ _tag: "Calls", from: calls, to: Number.POSITIVE_INFINITY, fault })

/** Only calls of these methods. */
export const only =
  (...methods: ReadonlyArray<string>) =>
  (fault: Fault): Fault =>
    new Fault({ _tag: "Methods", matches: (method) => methods.includes(method), fault })

/** Only calls of other methods. */
export const except =
  (...methods: ReadonlyArray<string>) =>
  (fault: Fault): Fault =>
    new Fault({ _tag: "Methods", matches: (method) => !methods.includes(method), fault })
