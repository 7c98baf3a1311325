// Random choices that a seed repeats.
export interface Random {
  /** From 0 to less than 1. */
  readonly next: () => number
  readonly below: (count: number) => number
  readonly chance: (share: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  /** One of these, each as often as its number says. */
  readonly weighted: <A>(from: ReadonlyArray<readonly [weight: number, value: A]>) => A
}

/** mulberry32 */
export const makeRandom = (seed: number): Random => {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (count: number) => Math.floor(next() * count)
  const pick = <A>(from: ReadonlyArray<A>): A => {
    const found = from.slice(below(from.length))
    if (found.length === 0) throw new Error("nothing to pick from")
    return found[0] as A
  }
  return {
    next,
    below,
    pick,
    chance: (share) => next() < share,
    weighted: (from) => {
      let left = next() * from.reduce((sum, [weight]) => sum + weight, 0)
      for (const [weight, value] of from) {
        left -= weight
        if (left < 0) return value
      }
      return pick(from)[1]
    }
  }
}
