// Who makes a change, and when.
import { Effect } from "effect"
import { now } from "./Time.ts"

export interface Actor {
  readonly user: string
  readonly at: string
  /** The connection that made an edit: it gets the edit's event without the text, which it has already. */
  readonly connectionId?: string | undefined
}

export const actorNow = (user: string): Effect.Effect<Actor> => Effect.map(now, (at) => ({ user, at }))
