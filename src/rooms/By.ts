// Whose change it is, and when it was made.
import { Effect } from "effect"
import { now } from "../domain/Now.ts"
import type { By } from "../storage/Repository.ts"

export const by = (user: string): Effect.Effect<By> => Effect.map(now, (at) => ({ user, at }))
