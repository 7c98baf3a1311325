// This instance and the others do not share both stores, Redis and Postgres: what it writes in a room would not reach
// them.
import { Schema } from "effect"

export class StoresDiffer extends Schema.TaggedError<StoresDiffer>()("StoresDiffer", {
  /** The settings that differ, without addresses. */
  reason: Schema.String
}) {}
