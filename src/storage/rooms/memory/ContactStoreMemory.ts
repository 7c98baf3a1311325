// Contacts and feedback, in memory.

import { Effect } from "effect"
import { type Contact, maxContacts, TooManyContacts } from "../../../domain/Contact.ts"
import { someOf } from "../ListPart.ts"
import type { PeoplePart } from "../Parts.ts"
import { byText, type Held, refused } from "./RoomTransactionMemory.ts"

export const makePeople = ({ contacts, feedback }: Held): PeoplePart => ({
  addContact: (owner, contact) =>
    Effect.suspend(() => {
      const theirs = contacts.get(owner) ?? new Map<string, Contact>()
      const before = theirs.get(contact.user)
      if (before === undefined && theirs.size >= maxContacts) {
        return Effect.fail(new TooManyContacts({ most: maxContacts }))
      }
      const kept = { ...contact, addedAt: before?.addedAt ?? contact.addedAt }
      contacts.set(owner, theirs.set(contact.user, kept))
      return Effect.succeed(kept)
    }),
  contacts: (owner, query = {}) =>
    Effect.sync(() =>
      someOf(
        [...(contacts.get(owner)?.values() ?? [])].sort(
          byText(
            ({ addedAt }) => addedAt,
            ({ user }) => user
          )
        ),
        ({ addedAt, user }) => [addedAt, user],
        query,
        maxContacts
      )
    ),
  removeContact: (owner, user) =>
    Effect.sync(() => {
      const theirs = contacts.get(owner)
      theirs?.delete(user)
      if (theirs?.size === 0) contacts.delete(owner)
    }),
  addFeedback: (one) =>
    Effect.suspend(() => {
      if (feedback.has(one.feedbackId)) return Effect.fromResult(refused(`feedback ${one.feedbackId}`))
      feedback.set(one.feedbackId, one)
      return Effect.void
    })
})
