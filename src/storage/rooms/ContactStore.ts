// Contacts and feedback of users.
import { Context, Effect, Layer } from "effect"
import { type Contact, type Feedback, maxContacts, TooManyContacts } from "../../domain/Contact.ts"
import type { Operation } from "./Committed.ts"
import type { ListOrder, ListQuery } from "./ListPart.ts"
import { isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

const order: ListOrder = {
  at: "added_at",
  id: "user_id",
  idType: "text",
  named: '"addedAt", "user"',
  bytes: `octet_length("user") + octet_length(coalesce(name, '')) + octet_length(coalesce(note, '')) + 60`,
  maxItems: maxContacts
}

export class ContactStore extends Context.Service<
  ContactStore,
  {
    /** Adding a contact again replaces its name and note. */
    readonly add: (owner: string, contact: Contact) => Operation<Contact, TooManyContacts>
    /** In the order they were added. */
    readonly list: (owner: string, query?: ListQuery) => Operation<ReadonlyArray<Contact>>
    readonly remove: (owner: string, user: string) => Operation<void>
    readonly addFeedback: (feedback: Feedback) => Operation<void>
  }
>()("hotpath/storage/rooms/ContactStore") {
  static readonly layer = Layer.effect(
    ContactStore,
    Effect.gen(function* () {
      const { firstOf, list, read, sql, uuid } = yield* makeRoomTransaction
      const columns = sql.literal(`user_id AS "user", name, note, ${isoTime("added_at")} AS "addedAt"`)
      return ContactStore.of({
        // The count is read in the same statement: two that are added at once may exceed the limit by one.
        add: (owner, { addedAt, name, note, user }) =>
          firstOf(
            read(sql<Contact>`INSERT INTO contacts (owner, user_id, name, note, added_at)
              SELECT ${owner}, ${user}, ${name}, ${note}, ${addedAt}::text::timestamptz
              WHERE (SELECT count(*) FROM contacts WHERE owner = ${owner} AND user_id <> ${user}) < ${maxContacts}
              ON CONFLICT (owner, user_id) DO UPDATE SET name = excluded.name, note = excluded.note
              RETURNING ${columns}`),
            () => new TooManyContacts({ most: maxContacts })
          ),
        list: (owner, query) =>
          list(sql<Contact>`SELECT ${columns} FROM contacts WHERE owner = ${owner}`, order, query),
        remove: (owner, user) =>
          Effect.asVoid(read(sql`DELETE FROM contacts WHERE owner = ${owner} AND user_id = ${user}`)),
        addFeedback: ({ about, at, comment, feedbackId, rating, user }) =>
          Effect.asVoid(
            read(sql`INSERT INTO feedback (feedback_id, user_id, about, rating, comment, at) VALUES (
              ${uuid(feedbackId)}, ${user}, ${about}, ${rating}, ${comment ?? null}::text, ${at}::text::timestamptz)`)
          )
      })
    })
  )
}
