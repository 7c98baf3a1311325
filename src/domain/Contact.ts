// What a user has besides rooms: contacts, and the feedback they gave.
import { Schema } from "effect"
import { Time } from "./Room.ts"

export const Contact = Schema.Struct({
  user: Schema.String,
  name: Schema.NullOr(Schema.String),
  note: Schema.NullOr(Schema.String),
  addedAt: Time
}).annotate({ identifier: "Contact" })
export type Contact = typeof Contact.Type

/** Contacts that a user may have. */
export const maxContacts = 1000

/** The user has as many contacts as they may. */
export class TooManyContacts extends Schema.TaggedError<TooManyContacts>()("TooManyContacts", {
  most: Schema.Finite
}) {}

export interface Feedback {
  readonly feedbackId: string
  readonly user: string
  readonly about: string
  /** 1 to 5. */
  readonly rating: number
  readonly comment: string | undefined
  readonly at: string
}
