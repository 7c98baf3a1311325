// Contacts and feedback, in memory.
import { Effect, Layer } from "effect"
import { type Contact, maxContacts, TooManyContacts } from "../../../domain/Contact.ts"
import { ContactStore } from "../ContactStore.ts"
import { partOf } from "../ListPart.ts"
import { byText, MemoryRooms, refused } from "./MemoryRooms.ts"

export const layer = Layer.effect(
  ContactStore,
  Effect.map(MemoryRooms, ({ contacts, feedback }) =>
    ContactStore.of({
      add: (owner, contact) =>
        Effect.suspend(() => {
          const theirs = contacts.get(owner) ?? new Map<string, Contact>()
          const before = theirs.get(contact.user)
          if (before === undefined && theirs.size >= maxContacts) {
            return Effect.fail(new TooManyContacts({ most: maxContacts }))
          }
          const stored = { ...contact, addedAt: before?.addedAt ?? contact.addedAt }
          contacts.set(owner, theirs.set(contact.user, stored))
          return Effect.succeed(stored)
        }),
      list: (owner, query = {}) =>
        Effect.sync(() =>
          partOf(
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
      remove: (owner, user) =>
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
  )
)
