// Judges whether an instance shares its stores with the others, by their heartbeats: one store lists an instance, and
// the other store, read later, does not. That alone proves nothing, because Redis may have lost the heartbeat; a live
// instance sends the next one within a second. The difference is proven when the other instance has sent two more
// heartbeats to that store, as it says in the store that is shared, and they are still missing. No identity is stored
// in a store, which could be copied or lost with its data.
import type { Listed } from "./StoreRoster.ts"

/** The store that is not shared; `configuration`: one of the two instances is set up without Redis. */
export type Difference = "redis" | "database" | "configuration"

export interface Disagreement {
  readonly what: Difference
  readonly other: Listed
  /** The other instance came first, by the clock of the shared store. */
  readonly isEarlier: boolean
  readonly isProven: boolean
}

/** Heartbeats that must be missing after the first missing one. */
const proof = 2

/** Heartbeats of another instance in the store that may not be shared: the last it sent, the last that is listed. */
interface Trail {
  readonly sent: number
  readonly seen: number | undefined
}

export class StoreAgreement {
  readonly #instance: string
  readonly #isAlone: boolean
  /** Where the trail of an instance first broke off. */
  readonly #missed = new Map<string, Trail>()

  constructor(instance: string, isAlone: boolean) {
    this.#instance = instance
    this.#isAlone = isAlone
  }

  /**
   * Of `shared`, which one store listed, those that are missing in `found`, which the other store (`what`) listed
   * later. An instance whose last heartbeat is older than `deadMs` is not missed.
   */
  compare(
    what: "redis" | "database",
    shared: ReadonlyArray<Listed>,
    found: ReadonlyArray<Listed>,
    deadMs: number
  ): ReadonlyArray<Disagreement> {
    const seen = new Map(found.map(({ beat, instance }) => [instance, beat]))
    return this.#judge(what, shared, deadMs, (other) =>
      this.#isApart(other) || !other.isUp ? undefined : { sent: other.acked, seen: seen.get(other.instance) }
    )
  }

  /** Of those that the database lists: instances that can't share more than the database. */
  configured(shared: ReadonlyArray<Listed>, deadMs: number): ReadonlyArray<Disagreement> {
    return this.#judge("configuration", shared, deadMs, (other) =>
      this.#isApart(other) ? { sent: other.beat, seen: undefined } : undefined
    )
  }

  #isApart({ isAlone }: Listed): boolean {
    return this.#isAlone || isAlone
  }

  #judge(
    what: Difference,
    shared: ReadonlyArray<Listed>,
    deadMs: number,
    trailOf: (other: Listed) => Trail | undefined
  ): ReadonlyArray<Disagreement> {
    const since = shared.find(({ instance }) => instance === this.#instance)?.since ?? Number.POSITIVE_INFINITY
    const names = new Set<string>()
    const disagreements = shared.flatMap((other) => {
      if (other.instance === this.#instance || other.ageMs > deadMs) return []
      const now = trailOf(other)
      if (now === undefined || (now.seen !== undefined && now.seen >= now.sent)) return []
      const name = `${what} ${other.instance}`
      names.add(name)
      const before = this.#missed.get(name)
      const first = before !== undefined && before.seen === now.seen ? before : now
      this.#missed.set(name, first)
      return [{ what, other, isEarlier: other.since < since, isProven: now.sent - first.sent >= proof }]
    })
    for (const name of this.#missed.keys()) {
      if (name.startsWith(`${what} `) && !names.has(name)) this.#missed.delete(name)
    }
    return disagreements
  }
}
