// The users that this instance knows: those with a connection here, and for a while those that had one. An idle user is
// forgotten when that loses nothing; beyond `maxIdle` the one that was idle longest is forgotten all the same, and may use as
// much as anybody new.
import { type UserBounds, UserUse } from "./UserUse.ts"

/** Users without a connection that are kept. */
const maxIdle = 10_000

export class UserTable {
  /** Those that asked for something since this was last cleared. */
  readonly active = new Set<UserUse>()
  readonly #users = new Map<string, UserUse>()
  readonly #idle = new Set<UserUse>()
  readonly #bounds: UserBounds
  readonly #wrote: (use: UserUse) => void
  readonly #shareOf: (user: string) => number

  /** `shareOf`: of somebody who is new here. */
  constructor(bounds: UserBounds, wrote: (use: UserUse) => void, shareOf: (user: string) => number) {
    this.#bounds = bounds
    this.#wrote = wrote
    this.#shareOf = shareOf
  }

  get size(): number {
    return this.#users.size
  }

  all(): IterableIterator<UserUse> {
    return this.#users.values()
  }

  of(user: string, now: number): UserUse {
    const known = this.#users.get(user)
    if (known !== undefined) return known
    const listener = { asked: (use: UserUse) => this.active.add(use), wrote: this.#wrote }
    const made = new UserUse(user, this.#bounds, listener, now, this.#shareOf(user))
    this.#users.set(user, made)
    this.#addIdle(made)
    return made
  }

  /** False: the user has as many connections here as there may be anywhere. */
  enter(use: UserUse): boolean {
    if (use.connections >= this.#bounds.connections) return false
    // It may have been forgotten since it was asked for.
    this.#users.set(use.user, use)
    this.#idle.delete(use)
    use.connections++
    return true
  }

  leave(use: UserUse): void {
    use.connections--
    if (use.connections === 0) this.#addIdle(use)
  }

  forgetIdle(now: number, isSettledElsewhere: boolean): void {
    for (const use of this.#idle) if (use.isForgettable(now, isSettledElsewhere)) this.#forget(use)
  }

  #addIdle(use: UserUse): void {
    this.#idle.add(use)
    const [longest] = this.#idle
    if (this.#idle.size > maxIdle && longest !== undefined) this.#forget(longest)
  }

  #forget(use: UserUse): void {
    this.#idle.delete(use)
    this.active.delete(use)
    if (this.#users.get(use.user) === use) this.#users.delete(use.user)
  }
}
