// Messages: the port and its layer over SQL. A message's ordinal is the time in µs, or one more than the last one's,
// given under the room's lock: a page has the order of the events.
import { Context, Effect, Layer } from "effect"
import { SqlError, type Statement } from "effect/sql"
import type { Actor } from "../../domain/Actor.ts"
import { isUuid } from "../../domain/Ids.ts"
import { asSent, type Message, MessageNotFound, ThreadNotFound, type TooManyReactions } from "../../domain/Message.ts"
import { type BufferFull, type Role, RoomNotFound, rolesFrom } from "../../domain/Room.ts"
import { DatabaseRefused } from "../../infra/postgres/Database.ts"
import { words } from "../../infra/postgres/DatabaseFaults.ts"
import { type Operation, Unchanged, type Write, type Writes } from "./Committed.ts"
import { upTo } from "./ListPart.ts"
import { answered, assigned, changed, deleted, edited, type MessageChange, messageEvent, reacted } from "./RoomRules.ts"
import { type Counted, isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

export interface NewMessage
  extends Pick<Message, "messageId" | "roomId" | "threadId" | "author" | "kind" | "body" | "at"> {
  readonly key: string | undefined
}

export interface MessageQuery {
  readonly threadId?: string | undefined
  /** The page ends just before this message: its id, or its ordinal. Undefined: it ends with the newest. */
  readonly before?: string | number | undefined
  readonly limit: number
  /** About how many bytes of messages: the page ends with the message that reaches it. Undefined: no limit. */
  readonly maxBytes?: number | undefined
}

/** Oldest first. */
export interface MessagePage {
  readonly messages: ReadonlyArray<Message>
  /** The ordinal of each: pages of two sources are merged by them. */
  readonly ordinals: ReadonlyArray<number>
  /** The ordinal of `before`. */
  readonly end: number | undefined
  /** Whether there are older messages. */
  readonly more: boolean
  /** Read around the write buffer: it may be older than what other instances acknowledged, and is not to be kept. */
  readonly isDirect?: boolean
}

interface MessageRow extends Omit<Message, "answer"> {
  readonly answer: string | null
}

const toMessage = ({ answer, ...message }: MessageRow): Message =>
  message.kind === "prompt" ? { ...message, answer } : message

/** PostgreSQL's message of a violation has the constraint's name. */
const violates = (error: unknown, constraint: string) =>
  error instanceof DatabaseRefused && SqlError.isSqlError(error.cause) && words(error.cause).includes(constraint)

/** Who may write messages. */
const writers = rolesFrom("member")

export class MessageStore extends Context.Service<
  MessageStore,
  {
    /**
     * The same author and key in the same room return the message that was stored first, and change nothing.
     * BufferFull: too much waits to be stored, and nothing was.
     */
    readonly send: (message: NewMessage) => Write<Message, ThreadNotFound | BufferFull>
    /** By its author. */
    readonly edit: (roomId: string, messageId: string, body: string, actor: Actor) => Write<Message, MessageNotFound>
    /** By its author, or an owner of the room. Deleting it again changes nothing. */
    readonly delete: (roomId: string, messageId: string, actor: Actor) => Write<Message, MessageNotFound>
    readonly react: (
      roomId: string,
      messageId: string,
      emoji: string,
      adds: boolean,
      actor: Actor
    ) => Write<Message, MessageNotFound | TooManyReactions>
    readonly page: (roomId: string, query: MessageQuery) => Operation<MessagePage, MessageNotFound>
    readonly find: (roomId: string, messageId: string) => Operation<Message | undefined>
    /**
     * Puts a message into a thread; `editedAt` stays. A message that has a thread, or is deleted, does not change.
     */
    readonly assignThread: (
      roomId: string,
      messageId: string,
      threadId: string,
      actor: Actor
    ) => Write<Message, MessageNotFound | ThreadNotFound>
    /** Links a prompt, for its author, to the message that answers it. */
    readonly markAnswered: (
      roomId: string,
      messageId: string,
      answer: string,
      actor: Actor
    ) => Write<Message, MessageNotFound>
    /** The author's newest prompt with that text that has no answer yet. */
    readonly unanswered: (roomId: string, author: string, body: string) => Operation<Message | undefined>
    /** The room that the message belongs to, which never changes. */
    readonly roomOf: (messageId: string) => Operation<string, MessageNotFound>
  }
>()("hotpath/storage/rooms/MessageStore") {
  static readonly writes: Writes<MessageStore["Service"]> = {
    send: true,
    edit: true,
    delete: true,
    react: true,
    assignThread: true,
    markAnswered: true
  }

  static readonly layer = Layer.effect(
    MessageStore,
    Effect.gen(function* () {
      const { firstOf, orRefused, read, run, sql, uuid, write } = yield* makeRoomTransaction
      const columns = sql.literal(
        `message_id AS "messageId", room_id AS "roomId", thread_id AS "threadId", author, kind, body, ${isoTime("at")} AS at,
        ${isoTime("edited_at")} AS "editedAt", ${isoTime("deleted_at")} AS "deletedAt", reactions, answer`
      )
      const select = (where: Statement.Fragment) =>
        Effect.map(sql<MessageRow>`SELECT ${columns} FROM messages WHERE ${where}`, ([row]) => row && toMessage(row))
      const byId = (roomId: string, messageId: string) =>
        select(sql`message_id = ${uuid(messageId)} AND room_id = ${uuid(roomId)}`)

      // The hot path: one statement, and so one round trip, for the lock, the check, the message and its event.
      const insert = (message: Message, { at, author, body, key, kind, messageId, roomId, threadId }: NewMessage) => {
        const event = messageEvent("message.sent", message)
        const counted = sql<Counted>`WITH room AS (
          SELECT * FROM hotpath_room_write(${uuid(roomId)}, ${author}, ${writers}::text[])),
        message AS (INSERT INTO messages (message_id, room_id, thread_id, author, kind, body, at, position, key)
          SELECT ${uuid(messageId)}, ${uuid(roomId)}, ${threadId}::text::uuid, ${author}, ${kind}, ${body},
            ${at}::text::timestamptz, greatest((SELECT max(position) + 1 FROM messages WHERE room_id = ${uuid(roomId)}),
              (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), ${key ?? null}::text FROM room),
        outbox AS (INSERT INTO room_outbox (room_id, revision, at, type, subject, event)
          SELECT ${uuid(roomId)}, revision, ${at}::text::timestamptz, 'message.sent', '', ${event} FROM room)
        SELECT revision::float8 AS "changeNumber", generation::float8 AS "epochCounter" FROM room`
        return Effect.map(run(firstOf(counted, () => new RoomNotFound())), (counts) => ({
          value: message,
          changes: [{ roomId, ...counts, at, type: "message.sent" as const, subject: "", event }]
        }))
      }

      const sentBefore = ({ author, key, roomId }: NewMessage) =>
        run(select(sql`room_id = ${uuid(roomId)} AND author = ${author} AND key = ${key ?? null}::text`))

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
              Effect.flatMap(sentBefore(wanted), (value) =>
                value === undefined ? Effect.fail(error) : Effect.succeed({ value, changes: [] })
              )
          ),
          Effect.catchIf(
            (error) => violates(error, "messages_room_id_thread_id_fkey"),
            () => Effect.fail(new ThreadNotFound())
          )
        )
        return orRefused(inserted, "member")
      }

      const roleOf = (roomId: string) => (user: string) =>
        Effect.map(
          sql<{ role: Role }>`SELECT role FROM room_members WHERE room_id = ${uuid(roomId)} AND user_id = ${user}`,
          ([row]) => row?.role
        )

      const hasThread = (roomId: string) => (threadId: string) =>
        Effect.map(
          sql`SELECT FROM threads WHERE thread_id = ${uuid(threadId)} AND room_id = ${uuid(roomId)}`,
          (rows) => rows.length > 0
        )

      const change: ChangeMessage = (roomId, messageId, change) =>
        write(
          roomId,
          change.actor,
          "member",
          Effect.fnUntraced(function* () {
            const before = yield* byId(roomId, messageId)
            if (before === undefined) return yield* new MessageNotFound()
            const after = yield* changed(before, change, roleOf(roomId), hasThread(roomId))
            if (after === undefined) return new Unchanged(before)
            yield* sql`UPDATE messages SET body = ${after.body}, edited_at = ${after.editedAt}::text::timestamptz,
              deleted_at = ${after.deletedAt}::text::timestamptz, edition = edition + 1,
              reactions = ${JSON.stringify(after.reactions)}::text::jsonb, thread_id = ${after.threadId}::text::uuid,
              answer = ${after.answer ?? null}::text::uuid
              WHERE message_id = ${uuid(messageId)}`
            return { value: after, type: change.type, event: messageEvent(change.type, after) }
          })
        )

      return MessageStore.of({
        ...messageChanges(change),
        send,
        page: Effect.fnUntraced(function* (roomId, { before, limit, maxBytes, threadId }) {
          if (!isUuid(roomId)) return { messages: [], ordinals: [], end: undefined, more: false }
          let end = before
          if (typeof end === "string") {
            const last = yield* firstOf(
              read(sql<{ ordinal: number }>`SELECT position::float8 AS ordinal FROM messages
                WHERE message_id = ${uuid(end)} AND room_id = ${uuid(roomId)}`),
              () => new MessageNotFound()
            )
            end = last.ordinal
          }
          const inThread = threadId === undefined ? sql`` : sql`AND thread_id = ${uuid(threadId)}`
          const older = end === undefined ? sql`` : sql`AND position < ${String(end)}::text::bigint`
          const newest = sql<MessageRow & { ordinal: number; found: number }>`SELECT *, count(*) OVER ()::int AS found
            FROM (SELECT ${columns}, position::float8 AS ordinal
              FROM messages WHERE room_id = ${uuid(roomId)} ${inThread} ${older}
              ORDER BY position DESC, message_id DESC LIMIT ${limit + 1}) newest`
          // PostgreSQL knows the length of a text without reading it.
          const bytes = "octet_length(body) + octet_length(reactions::text) * 3 / 4"
          const rows = yield* read(upTo(sql, newest, bytes, 'ordinal DESC, "messageId" DESC', maxBytes))
          const page = rows.slice(0, limit).reverse()
          return {
            messages: page.map(({ found: _, ordinal: __, ...row }) => toMessage(row)),
            ordinals: page.map(({ ordinal }) => ordinal),
            end,
            more: (rows[0]?.found ?? 0) > page.length
          }
        }),
        find: (roomId, messageId) => read(byId(roomId, messageId)),
        unanswered: (roomId, author, body) =>
          read(
            select(sql`room_id = ${uuid(roomId)} AND author = ${author} AND kind = 'prompt' AND answer IS NULL
              AND deleted_at IS NULL AND body = ${body} ORDER BY position DESC, message_id DESC LIMIT 1`)
          ),
        roomOf: (messageId) =>
          firstOf(
            read(sql<Pick<Message, "roomId">>`SELECT room_id AS "roomId" FROM messages
              WHERE message_id = ${uuid(messageId)}`),
            () => new MessageNotFound()
          ).pipe(Effect.map(({ roomId }) => roomId))
      })
    })
  )
}

/** How a store makes a change. `same` is the operation itself, of another store. */
export type ChangeMessage = <E>(
  roomId: string,
  messageId: string,
  change: MessageChange<E>,
  same: (store: MessageStore["Service"]) => Write<Message, E | MessageNotFound>
) => Write<Message, E | MessageNotFound>

/** The operations that change one message. */
export const messageChanges = (
  change: ChangeMessage
): Pick<MessageStore["Service"], "edit" | "delete" | "react" | "assignThread" | "markAnswered"> => ({
  edit: (roomId, messageId, body, actor) =>
    change(roomId, messageId, edited(body, actor), (store) => store.edit(roomId, messageId, body, actor)),
  delete: (roomId, messageId, actor) =>
    change(roomId, messageId, deleted(actor), (store) => store.delete(roomId, messageId, actor)),
  react: (roomId, messageId, emoji, adds, actor) =>
    change(roomId, messageId, reacted(emoji, adds, actor), (store) =>
      store.react(roomId, messageId, emoji, adds, actor)
    ),
  assignThread: (roomId, messageId, threadId, actor) =>
    change(roomId, messageId, assigned(threadId, actor), (store) =>
      store.assignThread(roomId, messageId, threadId, actor)
    ),
  markAnswered: (roomId, messageId, answer, actor) =>
    change(roomId, messageId, answered(answer, actor), (store) => store.markAnswered(roomId, messageId, answer, actor))
})
