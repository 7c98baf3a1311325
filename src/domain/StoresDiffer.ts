// This instance and the others don't share both stores, Redis and Postgres: what it wrote in a room, they would not learn of.
import { Schema } from "effect"

export class StoresDiffer extends Schema.TaggedError<StoresDiffer>()("StoresDiffer", {
  /** Which settings differ, in words; without addresses. */
  reason: Schema.String
}) {}
