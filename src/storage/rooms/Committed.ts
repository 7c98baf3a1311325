// What the room stores have in common: how their operations fail, and what a write returns.
//
// A write checks the actor's role when it takes place. The change it made is stored in the same step as the data, in
// the outbox (Outbox.ts), until it was published to the room; the changes of one room have one order, which their
// change numbers give. A write that fails with StorageUnavailable may have been applied.
import { Context, type Effect } from "effect"
import type { Forbidden, NotAMember, RoomNotFound, StorageUnavailable } from "../../domain/Room.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"

/**
 * The result of a write, and the changes that are still to be published: none if nothing changed, or a buffer did it.
 */
export interface Committed<A> {
  readonly value: A
  readonly changes: ReadonlyArray<RoomChange>
}

/** How any write in a room can fail. */
export type WriteRefused = RoomNotFound | NotAMember | Forbidden | StorageUnavailable

/**
 * What every write requires. Only the outbox relay provides it, which publishes the changes: a service that writes
 * through a bare store leaves this requirement open, and the app does not compile.
 */
export class Publisher extends Context.Service<Publisher, "publishes">()("hotpath/storage/rooms/Publisher") {}

export type Write<A, E = never> = Effect.Effect<Committed<A>, E | WriteRefused, Publisher>
/** A read, or a write that publishes nothing. */
export type Operation<A, E = never> = Effect.Effect<A, E | StorageUnavailable>

/**
 * The names of a store's operations that publish changes: each store lists them, and the compiler checks the list.
 */
export type Writes<Store> = {
  readonly [Name in keyof Store as Store[Name] extends (
    ...args: never
  ) => Effect.Effect<Committed<unknown>, unknown, unknown>
    ? Name
    : never]: true
}

/** What a write did to its room: a change, with the event that it brings. */
export interface Change<A> {
  readonly value: A
  readonly type: RoomChange["type"]
  readonly subject?: string
  readonly event: string
}

/** A write found the room as it wanted it: nothing is stored, counted or published. */
export class Unchanged<A> {
  readonly _tag = "Unchanged"
  readonly value: A
  constructor(value: A) {
    this.value = value
  }
}
