// Whose change it is, and when it was made.
import { Effect } from "effect"
import { now } from "./Time.ts"

export interface Actor {
  readonly user: string
  readonly at: string
  /** Whose own event of it comes without what they have already. */
  readonly connectionId?: string | undefined
  /** Under which version of the room's people their membership was seen; a buffer compares it, Postgres looks itself. */
  readonly seen?: { readonly epoch: string; readonly people: number } | undefined
}

export const actorNow = (user: string): Effect.Effect<Actor> => Effect.map(now, (at) => ({ user, at }))
