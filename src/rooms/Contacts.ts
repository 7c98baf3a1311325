// A user's contacts, and feedback.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Contact, TooManyContacts } from "../domain/Contact.ts"
import type { StorageUnavailable } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import type { Params } from "../protocol/methods/Methods.ts"
import { ContactStore } from "../storage/rooms/ContactStore.ts"
import { type ListParams, listed, type Reply, toQuery } from "./Listing.ts"

export class Contacts extends Context.Service<
  Contacts,
  {
    /** Adding a contact again replaces its name and note. */
    readonly addContact: (
      owner: string,
      contact: Params<"contacts.add">
    ) => Effect.Effect<Contact, StorageUnavailable | TooManyContacts>
    /** Oldest first. */
    readonly contacts: (owner: string, params: ListParams) => Effect.Effect<Reply<"contacts.list">, StorageUnavailable>
    readonly removeContact: (owner: string, user: string) => Effect.Effect<void, StorageUnavailable>
    readonly submit: (user: string, opinion: Params<"feedback.submit">) => Effect.Effect<string, StorageUnavailable>
  }
>()("hotpath/rooms/Contacts") {
  static readonly layer = Layer.effect(
    Contacts,
    Effect.gen(function* () {
      const store = yield* ContactStore
      return Contacts.of({
        addContact: Effect.fn("Contacts.addContact")(function* (owner, { name = null, note = null, user }) {
          return yield* store.add(owner, { user, name, note, addedAt: yield* now })
        }),
        contacts: (owner, params) =>
          Effect.map(store.list(owner, toQuery(params)), (found) =>
            listed("contacts.list", found, params, ({ addedAt, user }) => [addedAt, user])
          ),
        removeContact: store.remove,
        submit: Effect.fn("Contacts.submit")(function* (user, { about, comment, rating }) {
          const feedbackId = SecureRandom.uuidV7Unsafe()
          yield* store.addFeedback({ feedbackId, user, about, rating, comment, at: yield* now })
          return feedbackId
        })
      })
    })
  )
}
