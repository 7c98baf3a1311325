// Where the write buffer is flushed to. Only the flusher, and the rescue of unflushed writes, store through it.
//
// One statement writes rows of many rooms, and replaces only older versions. The rows of a statement are sorted, so
// that two flushes at once lock them in the same order and do not deadlock. A batch that Postgres refuses is halved
// until the refused row is alone, which becomes a dead letter.
import { Array as Arr, Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import type { StorageUnavailable } from "../../domain/Room.ts"
import { rescued, rescuedEvent } from "../../domain/RoomEvent.ts"
import { DeadLetters, insertOrDeadLetter } from "../DeadLetters.ts"
import { makeRoomTransaction } from "../rooms/RoomTransaction.ts"
import type { BufferedMessage, DirtyDocument } from "./WriteBuffer.ts"

export interface UnsavedDocument extends DirtyDocument {
  readonly roomId: string
}

/** Buffered writes, in their latest versions. */
export interface Unsaved {
  readonly documents: ReadonlyArray<UnsavedDocument>
  readonly messages: ReadonlyArray<BufferedMessage>
}

export interface Saved {
  /** Documents that the target has in another form, as new or newer. */
  readonly conflicts: number
  /** Rows that the target refused for good; they are dead letters. */
  readonly dead: number
}

const nothing: Saved = { conflicts: 0, dead: 0 }
const sum = (a: Saved, b: Saved): Saved => ({ conflicts: a.conflicts + b.conflicts, dead: a.dead + b.dead })

const rowsAtOnce = 500

export class FlushTarget extends Context.Service<
  FlushTarget,
  {
    /** Stores what is newer than the stored version. Safe to repeat, late, and from two instances at once. */
    readonly save: (unsaved: Unsaved) => Effect.Effect<Saved, StorageUnavailable>
    /**
     * As `save`, for writes that the buffer lost. They were missing in what others have read since, and their events
     * are past: in the same transaction each room that they change gets a change of the type `room.rescued`, which
     * makes cached pages stale, and subscribers read the state again.
     */
    readonly rescue: (unsaved: Unsaved) => Effect.Effect<Saved, StorageUnavailable>
    /** The same change of each room, for writes that were saved before it was known that the buffer lost them. */
    readonly markStale: (roomIds: ReadonlyArray<string>) => Effect.Effect<void, StorageUnavailable>
  }
>()("hotpath/storage/buffer/FlushTarget") {
  static readonly layer = Layer.effect(
    FlushTarget,
    Effect.gen(function* () {
      const { orUnavailable, run, sql } = yield* makeRoomTransaction
      const deadLetters = yield* DeadLetters

      /** How many conflicts there were, and the rooms that are changed. */
      type Stored = Effect.Effect<{ readonly saved: Saved; readonly rooms: ReadonlyArray<string> }, SqlError.SqlError>

      const documents = (rows: ReadonlyArray<UnsavedDocument>): Stored =>
        sql<{ conflicts: number; rooms: ReadonlyArray<string> }>`WITH batch AS (
          SELECT b.* FROM unnest(${rows.map((row) => row.roomId)}::uuid[], ${rows.map((row) => row.name)}::text[],
            ${rows.map((row) => row.text)}::text[], ${rows.map((row) => String(row.version))}::text[],
            ${rows.map((row) => row.author)}::text[], ${rows.map((row) => row.at)}::text[])
            AS b (room_id, name, text, version, author, at)
          JOIN rooms USING (room_id)),
        saved AS (INSERT INTO documents AS d (room_id, name, text, version, author, updated_at)
          SELECT room_id, name, text, version::bigint, author, at::timestamptz FROM batch ORDER BY room_id, name
          ON CONFLICT (room_id, name) DO UPDATE SET text = excluded.text, version = excluded.version,
            author = excluded.author, updated_at = excluded.updated_at WHERE d.version < excluded.version
          RETURNING room_id)
        SELECT count(*)::float8 AS conflicts, ARRAY(SELECT DISTINCT room_id::text FROM saved) AS rooms
          FROM batch JOIN documents d USING (room_id, name)
          WHERE d.version > batch.version::bigint OR (d.version = batch.version::bigint AND d.text <> batch.text)`.pipe(
          Effect.map(([row]) => ({ saved: { conflicts: row?.conflicts ?? 0, dead: 0 }, rooms: row?.rooms ?? [] }))
        )

      const messages = (rows: ReadonlyArray<BufferedMessage>): Stored => {
        const column = (of: (row: BufferedMessage) => string) => rows.map(of)
        const saved = sql<{
          roomId: string
        }>`INSERT INTO messages AS m (message_id, room_id, thread_id, author, kind, body, at, edited_at, deleted_at,
          reactions, position, key, edition, answer)
        SELECT b.message_id, b.room_id, nullif(b.thread_id, '')::uuid, b.author, b.kind, b.body, b.at::timestamptz,
          nullif(b.edited_at, '')::timestamptz, nullif(b.deleted_at, '')::timestamptz, b.reactions::jsonb,
          b.position::bigint, nullif(b.key, ''), b.edition::int, nullif(b.answer, '')::uuid
        FROM unnest(${column(({ message }) => message.messageId)}::uuid[], ${column(({ message }) => message.roomId)}::uuid[],
          ${column(({ message }) => message.threadId ?? "")}::text[], ${column(({ message }) => message.author)}::text[],
          ${column(({ message }) => message.kind)}::text[], ${column(({ message }) => message.body)}::text[],
          ${column(({ message }) => message.at)}::text[], ${column(({ message }) => message.editedAt ?? "")}::text[],
          ${column(({ message }) => message.deletedAt ?? "")}::text[],
          ${column(({ message }) => JSON.stringify(message.reactions))}::text[],
          ${column(({ ordinal }) => String(ordinal))}::text[], ${column(({ key }) => key ?? "")}::text[],
          ${column(({ version }) => String(version))}::text[], ${column(({ message }) => message.answer ?? "")}::text[])
          AS b (message_id, room_id, thread_id, author, kind, body, at, edited_at, deleted_at, reactions, position, key, edition,
            answer)
        JOIN rooms USING (room_id) ORDER BY b.message_id
        ON CONFLICT (message_id) DO UPDATE SET body = excluded.body, edited_at = excluded.edited_at,
          deleted_at = excluded.deleted_at, reactions = excluded.reactions, edition = excluded.edition,
          thread_id = excluded.thread_id, answer = excluded.answer
          WHERE m.edition < excluded.edition
        RETURNING m.room_id AS "roomId"`
        return Effect.map(saved, (stored) => ({ saved: nothing, rooms: stored.map(({ roomId }) => roomId) }))
      }

      /** How rows are stored: by themselves. */
      const alone =
        <Row>(store: (rows: ReadonlyArray<Row>) => Stored) =>
        (rows: ReadonlyArray<Row>) =>
          Effect.map(store(rows), ({ saved }) => saved)

      const lock = (roomIds: ReadonlyArray<string>) =>
        sql`SELECT FROM rooms WHERE room_id = ANY(${roomIds}::uuid[]) ORDER BY room_id FOR NO KEY UPDATE`
      const change = (roomIds: ReadonlyArray<string>) => sql`WITH changed AS (UPDATE rooms SET revision = revision + 1
          WHERE room_id = ANY(${roomIds}::uuid[]) AND deleted_at IS NULL RETURNING room_id, revision)
        INSERT INTO room_outbox (room_id, revision, at, type, subject, event)
          SELECT room_id, revision, clock_timestamp(), ${rescued}, '', ${rescuedEvent} FROM changed`

      /** How rows are stored: with a change of their rooms, which are locked first, as by any write in a room. */
      const asChanges =
        <Row>(store: (rows: ReadonlyArray<Row>) => Stored, roomOf: (row: Row) => string) =>
        (rows: ReadonlyArray<Row>) =>
          sql.withTransaction(
            Effect.gen(function* () {
              yield* lock([...new Set(rows.map(roomOf))])
              const { rooms, saved } = yield* store(rows)
              if (rooms.length > 0) yield* change(rooms)
              return saved
            })
          )

      const save = <Row>(
        rows: ReadonlyArray<Row>,
        idOf: (row: Row) => string,
        store: (rows: ReadonlyArray<Row>) => Effect.Effect<Saved, SqlError.SqlError>
      ) =>
        Effect.map(
          insertOrDeadLetter(
            Arr.chunksOf(rows, rowsAtOnce),
            (some) => run(store(some)),
            Effect.fnUntraced(function* (row, refused) {
              const { sqlState } = refused
              // Any other refusal is a fault of the statement, not of the row: the rows stay in the buffer.
              if (!/^2[23]/.test(sqlState)) return yield* refused
              const id = idOf(row)
              yield* deadLetters.add(id, JSON.stringify(row), sqlState)
              yield* Effect.logError("Postgres refused a row of the buffer; it is a dead letter", { id, sqlState })
              return { conflicts: 0, dead: 1 }
            })
          ),
          (saved) => saved.reduce(sum, nothing)
        )

      const inBoth =
        (
          storeDocuments: (rows: ReadonlyArray<UnsavedDocument>) => Effect.Effect<Saved, SqlError.SqlError>,
          storeMessages: (rows: ReadonlyArray<BufferedMessage>) => Effect.Effect<Saved, SqlError.SqlError>
        ) =>
        ({ documents, messages }: Unsaved) =>
          orUnavailable<Saved, never>(
            run(
              Effect.zipWith(
                save(documents, ({ name, roomId, version }) => `${roomId} ${name} ${version}`, storeDocuments),
                save(messages, ({ message }) => message.messageId, storeMessages),
                sum
              )
            )
          )

      return FlushTarget.of({
        save: inBoth(alone(documents), alone(messages)),
        markStale: (roomIds) =>
          roomIds.length === 0
            ? Effect.void
            : orUnavailable<void, never>(
                Effect.asVoid(run(sql.withTransaction(Effect.andThen(lock(roomIds), change(roomIds)))))
              ),
        rescue: inBoth(
          asChanges(documents, ({ roomId }) => roomId),
          asChanges(messages, ({ message }) => message.roomId)
        )
      })
    })
  )
}
