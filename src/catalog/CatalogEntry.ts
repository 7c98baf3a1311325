// Entries of the catalog: how a store names them, lists them, and notifies instances of their changes.
import type { CatalogKind } from "../domain/Version.ts"
import type { DatabaseRefused, DatabaseUnavailable } from "../infra/postgres/Database.ts"

export type CatalogStoreError = DatabaseUnavailable | DatabaseRefused

export interface Name {
  readonly kind: CatalogKind
  readonly key: string
}

/** A change that the listener received, or that an edit made. */
export interface Change extends Name {
  readonly version: number
}

export interface CatalogRow {
  /** The integration's name, or the user. */
  readonly key: string
  readonly version: number
  /** The definition or the configuration, as stored. */
  readonly content: unknown
  /** ISO */
  readonly updatedAt: string
}

export type CatalogNotification =
  /** Changes are received from here on. Some may be missing before it: compare everything. */
  | { readonly _tag: "Gap" }
  /** Changes are missing until the next `Gap`. */
  | { readonly _tag: "Lost" }
  /** `unnamed`: so many more, which may be about any entry. */
  | { readonly _tag: "Changed"; readonly changes: ReadonlyArray<Change>; readonly unnamed: number }
