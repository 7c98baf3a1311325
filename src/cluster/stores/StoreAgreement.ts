// Whether an instance shares its stores with the others, judged by what each says in both: an announcement that one store
// lists and the other, read later, lacks. Redis may have lost it, so that alone proves nothing: an instance that is alive
// announces itself there again within a second. It is proven when the other has announced itself there twice since, as it
// says in the store that is shared, and is still not to be seen. No identity is kept that could be copied with a store's
// data, or lost with it.
import type { Listed } from "./StoreRoster.ts"

/** What is not shared; `configuration`: one of the two is set up without Redis. */
export type Difference = "redis" | "database" | "configuration"

export interface Disagreement {
  readonly what: Difference
  readonly other: Listed
  /** The other came before, by the clock of the store that is shared. */
  readonly isEarlier: boolean
  readonly isProven: boolean
}

/** Announcements in the store that is not shared, made after the first that was missed. */
const proof = 2

export class StoreAgreement {
  readonly #instance: string
  readonly #isAlone: boolean
  readonly #missed = new Map<string, { readonly announced: number; readonly seen: number | undefined }>()

  constructor(instance: string, isAlone: boolean) {
    this.#instance = instance
    this.#isAlone = isAlone
  }

  /**
   * `shared`: what one store listed, without those that are older than `deadMs`; `found`: what the other lists, read after
   * that. `what` is the other store.
   */
  compare(
    what: "redis" | "database",
    shared: ReadonlyArray<Listed>,
    found: ReadonlyArray<Listed>,
    deadMs: number
  ): ReadonlyArray<Disagreement> {
    const seen = new Map(found.map(({ beat, instance }) => [instance, beat]))
    return this.#judge(what, shared, deadMs, (other) =>
      this.#isApart(other) || !other.isUp ? undefined : { announced: other.acked, seen: seen.get(other.instance) }
    )
  }

  /** Of those that the database lists: whom nothing but the database could be shared with. */
  configured(shared: ReadonlyArray<Listed>, deadMs: number): ReadonlyArray<Disagreement> {
    return this.#judge("configuration", shared, deadMs, (other) =>
      this.#isApart(other) ? { announced: other.beat, seen: undefined } : undefined
    )
  }

  #isApart({ isAlone }: Listed): boolean {
    return this.#isAlone || isAlone
  }

  #judge(
    what: Difference,
    shared: ReadonlyArray<Listed>,
    deadMs: number,
    expected: (other: Listed) => { readonly announced: number; readonly seen: number | undefined } | undefined
  ): ReadonlyArray<Disagreement> {
    const since = shared.find(({ instance }) => instance === this.#instance)?.since ?? Number.POSITIVE_INFINITY
    const names = new Set<string>()
    const disagreements = shared.flatMap((other) => {
      if (other.instance === this.#instance || other.ageMs > deadMs) return []
      const now = expected(other)
      if (now === undefined || (now.seen !== undefined && now.seen >= now.announced)) return []
      const name = `${what} ${other.instance}`
      names.add(name)
      const before = this.#missed.get(name)
      const first = before !== undefined && before.seen === now.seen ? before : now
      this.#missed.set(name, first)
      return [{ what, other, isEarlier: other.since < since, isProven: now.announced - first.announced >= proof }]
    })
    for (const name of this.#missed.keys()) {
      if (name.startsWith(`${what} `) && !names.has(name)) this.#missed.delete(name)
    }
    return disagreements
  }
}
