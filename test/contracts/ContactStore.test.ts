// One suite over every layer of the room stores: contacts and feedback.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { maxContacts } from "../../src/domain/Contact.ts"
import { ContactStore } from "../../src/storage/rooms/ContactStore.ts"
import { at, id, overStores, tagOf } from "../support/RoomStores.ts"

overStores("ContactStore", (it) => {
  it.effect("keeps contacts: renews who is there, in the order they were added", () =>
    Effect.gen(function* () {
      const { add: addContact, list: contacts, remove: removeContact } = yield* ContactStore
      const owner = id()
      const bob = { user: "bob", name: "Bob", note: null, addedAt: at(2) }
      const amy = { user: "amy", name: null, note: `"',{}\\ é`, addedAt: at(1) }
      const zoe = { user: "zoe", name: null, note: null, addedAt: at(1) }
      for (const one of [bob, zoe, amy]) assert.deepEqual(yield* addContact(owner, one), one)
      assert.deepEqual(yield* contacts(owner), [amy, zoe, bob])
      const renewed = { ...bob, name: null, note: "new" }
      assert.deepEqual(yield* addContact(owner, { ...renewed, addedAt: at(0) }), renewed)
      yield* addContact(id(), amy)
      yield* removeContact(owner, "zoe")
      yield* removeContact(owner, "nobody")
      assert.deepEqual(yield* contacts(owner), [amy, renewed])
      assert.deepEqual(yield* contacts("nobody"), [])
    })
  )

  it.effect("keeps so many contacts and no more, and still renews them", () =>
    Effect.gen(function* () {
      const { add: addContact, list: contacts, remove: removeContact } = yield* ContactStore
      const owner = id()
      const contact = (n: number) => ({ user: `user-${n}`, name: null, note: null, addedAt: at(n) })
      yield* Effect.forEach(
        Array.from({ length: maxContacts }, (_, n) => contact(n)),
        (one) => addContact(owner, one)
      )
      const full = yield* Effect.flip(addContact(owner, contact(maxContacts)))
      assert.deepInclude({ ...full }, { _tag: "TooManyContacts", most: maxContacts })
      assert.strictEqual((yield* addContact(owner, { ...contact(5), note: "renewed" })).note, "renewed")
      yield* addContact(id(), contact(0))
      yield* removeContact(owner, "user-3")
      yield* addContact(owner, contact(maxContacts))
      assert.lengthOf(yield* contacts(owner), maxContacts)
    })
  )

  it.effect("takes feedback, each once", () =>
    Effect.gen(function* () {
      const { addFeedback } = yield* ContactStore
      const one = { feedbackId: id(), user: "ann", about: "all", rating: 5, comment: undefined, at: at() }
      yield* addFeedback(one)
      yield* addFeedback({ ...one, feedbackId: id(), comment: "good" })
      assert.strictEqual(yield* tagOf(addFeedback(one)), "StorageUnavailable")
    })
  )
})
