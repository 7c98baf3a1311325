// Keeps the order of one connection's writes: each is done when all earlier ones have ended, in whichever room. A place
// is taken when the request arrives and left when the request has ended, whether it waited, ran, failed or was
// interrupted; leaving early lets no other overtake. A write that finds the order empty costs no effect, no fiber and
// no timer.
import { Effect } from "effect"

export interface Place {
  isFirst: boolean
  /** Set while its request waits. */
  start: (() => void) | undefined
}

export class WriteOrder {
  readonly #places: Array<Place> = []

  take(): Place {
    const place: Place = { isFirst: this.#places.length === 0, start: undefined }
    this.#places.push(place)
    return place
  }

  /** Leaving twice does nothing. */
  leave(place: Place): void {
    const index = this.#places.indexOf(place)
    if (index === -1) return
    if (index === 0) this.#places.shift()
    else this.#places.splice(index, 1)
    const [next] = this.#places
    if (index > 0 || next === undefined) return
    next.isFirst = true
    // Afterwards: the reply to the write that has just ended goes out first.
    if (next.start !== undefined) queueMicrotask(next.start)
  }

  /** Does the write in its place and leaves it. */
  run<A, E>(place: Place, write: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.ensuring(
      inPlace(place, () => write),
      Effect.sync(() => this.leave(place))
    )
  }
}

/** Waits until the place is first. */
export const inPlace = <A, E>(place: Place, write: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  place.isFirst
    ? write()
    : Effect.andThen(
        Effect.callback<void>((resume) => {
          if (place.isFirst) return resume(Effect.void)
          place.start = () => resume(Effect.void)
        }),
        Effect.suspend(write)
      )
