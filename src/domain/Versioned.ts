// What stands under a key of the catalog, and since which change. Versions of a key only grow, over deletions too.
import type { Option } from "effect"

export interface Versioned<A> {
  /** 0: there never was anything. */
  readonly version: number
  /** None: there is nothing (any more). */
  readonly value: Option.Option<A>
}

/** The two kinds of things in the catalog. */
export type CatalogKind = "integration" | "config"
