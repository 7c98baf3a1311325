// Contacts and feedback, in SQL.
import { Effect, Layer } from "effect"
import { type Contact, maxContacts, TooManyContacts } from "../../domain/Contact.ts"
import { ContactStore } from "./ContactStore.ts"
import { upTo } from "./ListPart.ts"
import { iso, makeRoomTransaction } from "./RoomTransaction.ts"

interface ContactRow {
  readonly user: string
  readonly name: string | null
  readonly note: string | null
  readonly addedAt: number
}

const toContact = ({ addedAt, name, note, user }: ContactRow): Contact => ({ user, name, note, addedAt: iso(addedAt) })

export const layer = Layer.effect(
  ContactStore,
  Effect.gen(function* () {
    const { read, sql, uuid } = yield* makeRoomTransaction
    const columns = sql.literal(
      `user_id AS "user", name, note, (extract(epoch FROM added_at) * 1000)::float8 AS "addedAt"`
    )
    return ContactStore.of({
      // The count is read in the same statement: two that are added at once may exceed the limit by one.
      add: (owner, { addedAt, name, note, user }) =>
        read(sql<ContactRow>`INSERT INTO contacts (owner, user_id, name, note, added_at)
          SELECT ${owner}, ${user}, ${name}, ${note}, ${addedAt}::text::timestamptz
          WHERE (SELECT count(*) FROM contacts WHERE owner = ${owner} AND user_id <> ${user}) < ${maxContacts}
          ON CONFLICT (owner, user_id) DO UPDATE SET name = excluded.name, note = excluded.note
          RETURNING ${columns}`).pipe(
          Effect.flatMap(([row]) =>
            row === undefined ? Effect.fail(new TooManyContacts({ most: maxContacts })) : Effect.succeed(toContact(row))
          )
        ),
      list: (owner, { after, limit, maxBytes } = {}) => {
        const later =
          after === undefined ? sql`` : sql`AND (added_at, user_id) > (${after.at}::text::timestamptz, ${after.id})`
        const rows = sql<ContactRow>`SELECT ${columns} FROM contacts WHERE owner = ${owner} ${later}
        ORDER BY added_at, user_id LIMIT ${limit ?? maxContacts}`
        const bytes = `octet_length("user") + octet_length(coalesce(name, '')) + octet_length(coalesce(note, '')) + 60`
        return Effect.map(read(upTo(sql, rows, bytes, '"addedAt", "user"', maxBytes)), (found) => found.map(toContact))
      },
      remove: (owner, user) =>
        read(sql`DELETE FROM contacts WHERE owner = ${owner} AND user_id = ${user}`).pipe(Effect.asVoid),
      addFeedback: ({ about, at, comment, feedbackId, rating, user }) =>
        read(sql`INSERT INTO feedback (feedback_id, user_id, about, rating, comment, at) VALUES (
        ${uuid(feedbackId)}, ${user}, ${about}, ${rating}, ${comment ?? null}::text,
        ${at}::text::timestamptz)`).pipe(Effect.asVoid)
    })
  })
)
