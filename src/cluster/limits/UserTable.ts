// The users that this instance keeps quotas of: those with a connection here, and for a while those that had one. An
// idle user is forgotten as soon as that loses nothing. Beyond `maxIdle` the user that was idle longest is forgotten
// in any case, and begins with a fresh quota.
import { Clock, Effect } from "effect"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { type UserBounds, UserUse } from "./UserUse.ts"

/** Users without a connection. */
const maxIdle = 10_000

export class UserTable {
  /** Users with requests since this was last cleared. */
  readonly active = new Set<UserUse>()
  readonly #users = new Map<string, UserUse>()
  readonly #idle = new Set<UserUse>()
  readonly #bounds: UserBounds
  readonly #wrote: (use: UserUse) => void
  readonly #shareOf: (user: string) => number

  /** `shareOf`: the share of a user who is new here. */
  static readonly make = Effect.fnUntraced(function* (
    wrote: (use: UserUse) => void,
    shareOf: (user: string) => number
  ) {
    const table = new UserTable(yield* Settings, wrote, shareOf)
    const { gauge } = yield* Metrics
    gauge("users", "Users that this instance keeps quotas of", () => table.#users.size)
    return table
  })

  private constructor(bounds: UserBounds, wrote: (use: UserUse) => void, shareOf: (user: string) => number) {
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

  of(user: string): Effect.Effect<UserUse> {
    return Effect.map(Clock.currentTimeMillis, (now) => {
      const known = this.#users.get(user)
      if (known !== undefined) return known
      const listener = { asked: (use: UserUse) => this.active.add(use), wrote: this.#wrote }
      const made = new UserUse(user, this.#bounds, listener, now, this.#shareOf(user))
      this.#users.set(user, made)
      this.#addIdle(made)
      return made
    })
  }

  /** False if the user has the whole quota of connections here already. */
  enter(use: UserUse): boolean {
    if (use.connections >= this.#bounds.USER_CONNECTIONS) return false
    // The table may have forgotten it since `of`.
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
