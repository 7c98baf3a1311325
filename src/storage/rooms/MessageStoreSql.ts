// Messages, in SQL. A message's ordinal is the time in µs, or one more than the last one's, given under the room's
// lock: a page has the order of the events, those of messages that came from a write buffer among them.
import { Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { isUuid } from "../../domain/Ids.ts"
import {
  asSent,
  type Message,
  type MessageKind,
  MessageNotFound,
  type Reactions,
  ThreadNotFound
} from "../../domain/Message.ts"
import { type Role, RoomNotFound, rolesFrom } from "../../domain/Room.ts"
import { DatabaseRefused } from "../../infra/postgres/Database.ts"
import { Unchanged } from "./Committed.ts"
import { upTo } from "./ListPart.ts"
import { answered, assigned, deleted, edited, messageEvent, reacted } from "./MessageRules.ts"
import { MessageStore, type NewMessage } from "./MessageStore.ts"
import { type Counted, iso, makeRoomTransaction } from "./RoomTransaction.ts"

interface MessageRow {
  readonly messageId: string
  readonly roomId: string
  readonly threadId: string | null
  readonly author: string
  readonly kind: MessageKind
  readonly body: string
  readonly at: number
  readonly editedAt: number | null
  readonly deletedAt: number | null
  readonly reactions: Reactions
  readonly answer: string | null
}

const isoOrNull = (ms: number | null) => (ms === null ? null : iso(ms))
const toMessage = (row: MessageRow): Message => ({
  messageId: row.messageId,
  roomId: row.roomId,
  threadId: row.threadId,
  author: row.author,
  kind: row.kind,
  body: row.body,
  at: iso(row.at),
  editedAt: isoOrNull(row.editedAt),
  deletedAt: isoOrNull(row.deletedAt),
  reactions: row.reactions,
  ...(row.kind === "prompt" && { answer: row.answer })
})

type Edited = "message.edited" | "message.deleted" | "message.reacted"

const violates = (error: unknown, constraint: string) =>
  error instanceof DatabaseRefused && JSON.stringify(causes(error.cause)).includes(constraint)
/** The texts of an error and of what caused it. */
const causes = (error: unknown): ReadonlyArray<string> => {
  const texts: Array<string> = []
  for (let at = error, depth = 0; typeof at === "object" && at !== null && depth < 8; depth++) {
    const one = at as { message?: unknown; constraint?: unknown; reason?: unknown; cause?: unknown }
    texts.push(String(one.message ?? ""), String(one.constraint ?? ""))
    at = one.reason ?? one.cause
  }
  return texts
}

/** Who may write messages. */
const writers = rolesFrom("member")

export const layer = Layer.effect(
  MessageStore,
  Effect.gen(function* () {
    const { orRefused, read, run, sql, uuid, write } = yield* makeRoomTransaction
    const columns =
      sql.literal(`message_id AS "messageId", room_id AS "roomId", thread_id AS "threadId", author, kind, body,
    (extract(epoch FROM at) * 1000)::float8 AS at, (extract(epoch FROM edited_at) * 1000)::float8 AS "editedAt",
    (extract(epoch FROM deleted_at) * 1000)::float8 AS "deletedAt", reactions, answer`)

    // The hot path: one statement, and so one round trip, for the lock, the check, the message and its event.
    const insert = (message: Message, { at, author, body, key, kind, messageId, roomId, threadId }: NewMessage) => {
      const event = messageEvent("message.sent", message)
      return run(sql<Counted>`WITH room AS (
        SELECT * FROM hotpath_room_write(${uuid(roomId)}, ${author}, ${writers}::text[])),
      message AS (INSERT INTO messages (message_id, room_id, thread_id, author, kind, body, at, position, key)
        SELECT ${uuid(messageId)}, ${uuid(roomId)}, ${threadId}::text::uuid, ${author}, ${kind}, ${body},
          ${at}::text::timestamptz, greatest((SELECT max(position) + 1 FROM messages WHERE room_id = ${uuid(roomId)}),
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), ${key ?? null}::text FROM room),
      outbox AS (INSERT INTO room_outbox (room_id, revision, at, type, subject, event)
        SELECT ${uuid(roomId)}, revision, ${at}::text::timestamptz, 'message.sent', '', ${event} FROM room)
      SELECT revision::float8 AS "changeNumber", generation::float8 AS "epochCounter" FROM room`).pipe(
        Effect.flatMap(([counted]) =>
          counted === undefined
            ? Effect.die("hotpath_room_write returns a row")
            : Effect.succeed({
                value: message,
                changes: [{ roomId, ...counted, at, type: "message.sent" as const, subject: "", event }]
              })
        )
      )
    }

    const sentBefore = ({ author, key, roomId }: NewMessage) =>
      run(sql<MessageRow>`SELECT ${columns} FROM messages
      WHERE room_id = ${uuid(roomId)} AND author = ${author} AND key = ${key ?? null}::text`)

    const send: MessageStore["Service"]["send"] = (wanted) => {
      if (!isUuid(wanted.roomId)) return Effect.fail(new RoomNotFound())
      if (wanted.threadId !== null && !isUuid(wanted.threadId)) return Effect.fail(new ThreadNotFound())
      const { key: _, ...rest } = wanted
      const message = asSent(rest)
      const inserted = insert(message, wanted).pipe(
        Effect.catchIf(
          (error) => violates(error, "messages_once") || violates(error, "messages_pkey"),
          // The statement was refused as a whole: it counted no change.
          (error) =>
            Effect.flatMap(sentBefore(wanted), ([row]) =>
              row === undefined ? Effect.fail(error) : Effect.succeed({ value: toMessage(row), changes: [] })
            )
        ),
        Effect.catchIf(
          (error) => violates(error, "messages_room_id_thread_id_fkey"),
          () => Effect.fail(new ThreadNotFound())
        )
      )
      return orRefused(inserted, "member")
    }

    /** `apply` gets the message under the room's lock. If it returns undefined, nothing changes. */
    const change = <E>(
      roomId: string,
      messageId: string,
      actor: Actor,
      type: Edited,
      apply: (message: Message) => Effect.Effect<Message | undefined, E | MessageNotFound>
    ) =>
      write(
        roomId,
        actor,
        "member",
        Effect.fnUntraced(function* () {
          if (!isUuid(messageId)) return yield* new MessageNotFound()
          const [row] = yield* sql<MessageRow>`SELECT ${columns} FROM messages
            WHERE message_id = ${uuid(messageId)} AND room_id = ${uuid(roomId)}`
          if (row === undefined) return yield* new MessageNotFound()
          const before = toMessage(row)
          const after = yield* apply(before)
          if (after === undefined) return new Unchanged(before)
          yield* sql`UPDATE messages SET body = ${after.body}, edited_at = ${after.editedAt}::text::timestamptz,
            deleted_at = ${after.deletedAt}::text::timestamptz, edition = edition + 1, reactions = ${JSON.stringify(after.reactions)}::text::jsonb,
            thread_id = ${after.threadId}::text::uuid, answer = ${after.answer ?? null}::text::uuid
            WHERE message_id = ${uuid(messageId)}`
          return { value: after, type, event: messageEvent(type, after) }
        })
      )

    const roleOf = (roomId: string, user: string) =>
      Effect.map(
        sql<{ role: Role }>`SELECT role FROM room_members WHERE room_id = ${uuid(roomId)} AND user_id = ${user}`,
        ([row]) => row?.role
      )

    const isThread = (roomId: string, threadId: string) =>
      !isUuid(threadId)
        ? Effect.succeed(false)
        : Effect.map(
            sql`SELECT FROM threads WHERE thread_id = ${threadId}::text::uuid AND room_id = ${uuid(roomId)}`,
            (rows) => rows.length > 0
          )

    return MessageStore.of({
      send,
      edit: (roomId, messageId, body, actor) =>
        change(roomId, messageId, actor, "message.edited", (message) =>
          Effect.fromResult(edited(body, actor)(message))
        ),
      delete: (roomId, messageId, actor) =>
        Effect.map(
          change(roomId, messageId, actor, "message.deleted", (message) =>
            Effect.flatMap(message.author === actor.user ? Effect.undefined : roleOf(roomId, actor.user), (role) =>
              Effect.fromResult(deleted(role, actor)(message))
            )
          ),
          ({ changes }) => ({ value: undefined, changes })
        ),
      react: (roomId, messageId, emoji, adds, actor) =>
        change(roomId, messageId, actor, "message.reacted", (message) =>
          Effect.fromResult(reacted(emoji, adds, actor)(message))
        ),
      page: Effect.fnUntraced(function* (roomId, { before, limit, maxBytes, threadId }) {
        const empty = { messages: [], ordinals: [], end: undefined, more: false }
        if (!isUuid(roomId)) return empty
        let end = before
        if (typeof end === "string") {
          if (!isUuid(end)) return yield* new MessageNotFound()
          const [last] = yield* read(sql<{ ordinal: number }>`SELECT position::float8 AS ordinal FROM messages
            WHERE message_id = ${uuid(end)} AND room_id = ${uuid(roomId)}`)
          if (last === undefined) return yield* new MessageNotFound()
          end = last.ordinal
        }
        if (threadId !== undefined && !isUuid(threadId)) return empty
        const inThread = threadId === undefined ? sql`` : sql`AND thread_id = ${threadId}::text::uuid`
        const older = end === undefined ? sql`` : sql`AND position < ${String(end)}::text::bigint`
        const newest = sql<MessageRow & { ordinal: number }>`SELECT ${columns}, position::float8 AS ordinal
          FROM messages WHERE room_id = ${uuid(roomId)} ${inThread} ${older}
          ORDER BY position DESC, message_id DESC LIMIT ${limit + 1}`
        // PostgreSQL knows the length of a text without reading it.
        const bytes = "octet_length(body) + octet_length(reactions::text) * 3 / 4"
        const rows = yield* read(upTo(sql, newest, bytes, 'ordinal DESC, "messageId" DESC', maxBytes))
        const page = rows.slice(0, limit).reverse()
        return {
          messages: page.map(toMessage),
          ordinals: page.map(({ ordinal }) => ordinal),
          end,
          more: (rows[0]?.found ?? rows.length) > page.length
        }
      }),
      find: (roomId, messageId) =>
        !isUuid(roomId) || !isUuid(messageId)
          ? Effect.succeed(undefined)
          : read(sql<MessageRow>`SELECT ${columns} FROM messages
            WHERE message_id = ${uuid(messageId)} AND room_id = ${uuid(roomId)}`).pipe(
              Effect.map(([row]) => (row === undefined ? undefined : toMessage(row)))
            ),
      assignThread: (roomId, messageId, threadId, actor) =>
        change(roomId, messageId, actor, "message.edited", (message) =>
          Effect.flatMap(isThread(roomId, threadId), (isThere) =>
            isThere ? Effect.fromResult(assigned(threadId)(message)) : Effect.fail(new ThreadNotFound())
          )
        ),
      markAnswered: (roomId, messageId, answer, actor) =>
        change(roomId, messageId, actor, "message.edited", (message) =>
          Effect.fromResult(answered(answer, actor)(message))
        ),
      unanswered: (roomId, author, body) =>
        !isUuid(roomId)
          ? Effect.succeed(undefined)
          : read(sql<MessageRow>`SELECT ${columns} FROM messages
            WHERE room_id = ${uuid(roomId)} AND author = ${author} AND kind = 'prompt' AND answer IS NULL
              AND deleted_at IS NULL AND body = ${body} ORDER BY position DESC, message_id DESC LIMIT 1`).pipe(
              Effect.map(([row]) => (row === undefined ? undefined : toMessage(row)))
            ),
      roomOf: (messageId) =>
        !isUuid(messageId)
          ? Effect.fail(new MessageNotFound())
          : read(sql<{ roomId: string }>`SELECT room_id AS "roomId" FROM messages
            WHERE message_id = ${uuid(messageId)}`).pipe(
              Effect.flatMap(([row]) => (row === undefined ? new MessageNotFound() : Effect.succeed(row.roomId)))
            )
    })
  })
)
