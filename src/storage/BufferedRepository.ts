// The repository with a buffer before it: document updates and messages are acknowledged when the buffer has them, and reach
// Postgres in batches (Flusher.ts); everything else passes through. Reads see the buffer: it is asked before Postgres, so
// that what moves from the one to the other meanwhile is found in one of them, or in both.
//
// Without the buffer, writes go straight to Postgres. A document's base may be above what Postgres has then, what lies between
// waits in the buffer; when the buffer is back, it is brought up to Postgres before it is used for that room. A write that
// the buffer may or may not have kept fails: repeating it, on either way, keeps it once.
import { Cache, Duration, Effect, Exit, Layer, type Result } from "effect"
import { type Document, updatedEvent, VersionConflict } from "../domain/Document.ts"
import { type Message, type MessageNotFound, ThreadNotFound } from "../domain/Message.ts"
import { BufferFull, MembershipUnsure, type Role, StorageUnavailable } from "../domain/Room.ts"
import { Durable } from "./Durable.ts"
import { Flusher } from "./Flusher.ts"
import { type By, type Committed, type DocumentUpdate, type NewMessage, Repository } from "./Repository.ts"
import { type BufferedMessage, BufferUnavailable, RoomBuffer, type Update, type Updated } from "./RoomBuffer.ts"
import { deleted, edited, messageEvent, reacted } from "./repository/Changes.ts"
import { mergePage } from "./repository/Pages.ts"

const attempts = 6
const maxNames = 20_000

const told = <A>(value: A): Committed<A> => ({ value, changes: [] })
const uncertain = () => new StorageUnavailable({ reason: "the buffer did not say whether it was kept" })

export const layer = Layer.effect(
  Repository,
  Effect.gen(function* () {
    const buffer = yield* RoomBuffer
    const durable = yield* Durable
    const flusher = yield* Flusher

    // The document that each room has open, as last heard; the buffer says when that is another.
    const names = new Map<string, string>()
    const remember = (roomId: string, name: string) => {
      names.delete(roomId)
      names.set(roomId, name)
      const [oldest] = names.keys()
      if (names.size > maxNames && oldest !== undefined) names.delete(oldest)
    }
    // Documents written past the buffer: it is behind them.
    const passed = new Map<string, Set<string | undefined>>()

    const threads = yield* Cache.makeWith(durable.roomOfThread, {
      capacity: maxNames,
      timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
    })

    /** `direct` when the buffer is known not to have it. */
    const orElse =
      <A2, E2>(direct: () => Effect.Effect<A2, E2>) =>
      <A, E>(effect: Effect.Effect<A, E | BufferUnavailable>) =>
        Effect.catch(effect, (error): Effect.Effect<A2, Exclude<E, BufferUnavailable> | E2 | StorageUnavailable> => {
          if (!(error instanceof BufferUnavailable)) return Effect.fail(error as Exclude<E, BufferUnavailable>)
          return error.isSent ? Effect.fail(uncertain()) : direct()
        })

    /** A read that the buffer got and did not answer is asked once more: Postgres may be behind what was acknowledged. */
    const surely = <A, E>(effect: Effect.Effect<A, E | BufferUnavailable>) =>
      Effect.retry(effect, { times: 1, while: (error) => error instanceof BufferUnavailable && error.isSent })

    const unlessFull = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.suspend(
        (): Effect.Effect<A, E | BufferFull> => (flusher.isFull() ? Effect.fail(new BufferFull()) : effect)
      )

    /** Makes the open document (or another) of a room known to the buffer; its name. */
    const load = Effect.fnUntraced(function* (roomId: string, name?: string) {
      const open = yield* durable.document(roomId)
      yield* buffer.load(roomId, open, true)
      remember(roomId, open.name)
      if (name !== undefined && name !== open.name)
        yield* buffer.load(roomId, yield* durable.document(roomId, name), false)
      return open.name
    })

    const catchUp = (roomId: string) =>
      Effect.suspend(() => {
        const behind = passed.get(roomId)
        if (behind === undefined) return Effect.void
        return Effect.forEach(behind, (name) => load(roomId, name), { discard: true }).pipe(
          Effect.andThen(
            Effect.sync(() => {
              if (passed.get(roomId) === behind) passed.delete(roomId)
            })
          )
        )
      })
    const pass = (roomId: string, name: string | undefined) =>
      Effect.sync(() => {
        passed.set(roomId, new Set([...(passed.get(roomId) ?? []), name]))
      })
    // What nobody asks for meanwhile is brought up to Postgres as well.
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.delay(
          Effect.suspend(() => Effect.ignore(Effect.forEach([...passed.keys()], catchUp, { discard: true }))),
          "1 second"
        )
      )
    )

    const updateDocument: Repository["Service"]["updateDocument"] = (roomId, wanted: DocumentUpdate, by) => {
      const { baseVersion, name, text } = wanted
      const attempt = Effect.fnUntraced(function* () {
        yield* catchUp(roomId)
        let isAhead = false
        // Postgres is asked only if nobody else did: it may be away.
        let own: string =
          name ?? names.get(roomId) ?? (yield* buffer.document(roomId, undefined))?.name ?? (yield* load(roomId))
        for (let left = attempts; left > 0; left--) {
          const event = updatedEvent(own, baseVersion + 1, by.user, text)
          const { at, connectionId = "", seen, user } = by
          const update: Update = { name: own, baseVersion, text, user, connectionId, at, event, isAhead, seen }
          const updated: Updated = yield* buffer.update(roomId, update)
          if (updated._tag === "Updated") {
            flusher.added(1)
            const { savedVersion } = updated
            return told<Document>({ name: own, text, version: baseVersion + 1, savedVersion })
          }
          if (updated._tag === "Unsure") return yield* new MembershipUnsure()
          if (updated._tag === "Conflict") {
            return yield* new VersionConflict({ version: updated.version, text: updated.text })
          }
          if (updated._tag === "NotOpen" && updated.name !== undefined && name === undefined) {
            own = updated.name
            remember(roomId, own)
            continue
          }
          // Whoever named a document that is not the open one gets the open one's state.
          if (updated._tag === "NotOpen" && updated.name !== undefined) {
            const open = yield* durable.document(roomId)
            return yield* new VersionConflict({ version: open.version, text: open.text })
          }
          const opened = yield* load(roomId)
          if (name === undefined) own = opened
          // Postgres has no more either: what the caller has was lost by the buffer, and is in their text.
          isAhead = updated._tag === "Behind"
        }
        return yield* uncertain()
      })
      return unlessFull(attempt()).pipe(
        orElse(() =>
          pass(roomId, name).pipe(
            Effect.andThen(durable.updateDocument(roomId, { ...wanted, isAhead: true }, by)),
            // Another one may be open when the buffer is back.
            Effect.tap(({ value }) => pass(roomId, value.name))
          )
        )
      )
    }

    const document: Repository["Service"]["document"] = (roomId, name) =>
      Effect.gen(function* () {
        yield* catchUp(roomId)
        const found = yield* buffer.document(roomId, name)
        if (found !== undefined) return found
        const opened = yield* load(roomId, name)
        return (yield* buffer.document(roomId, name ?? opened)) ?? (yield* durable.document(roomId, name))
      }).pipe(
        surely,
        orElse(() => durable.document(roomId, name))
      )

    const sendMessage: Repository["Service"]["sendMessage"] = (wanted: NewMessage) => {
      const { key, ...rest } = wanted
      const { roomId, threadId } = wanted
      const message: Message = { ...rest, editedAt: null, deletedAt: null, reactions: {} }
      const attempt = Effect.fnUntraced(function* () {
        if (threadId !== null && (yield* Cache.get(threads, threadId)) !== roomId) return yield* new ThreadNotFound()
        const appended = yield* buffer.append(message, key, messageEvent("message.sent", message))
        if (!("sameAs" in appended)) {
          flusher.added(1)
          return told(message)
        }
        const before = yield* buffer.message(roomId, appended.sameAs)
        if (before !== undefined) return told(before.message)
        const saved = yield* durable.message(roomId, appended.sameAs)
        return told(saved ?? message)
      })
      return unlessFull(attempt()).pipe(orElse(() => durable.sendMessage(wanted)))
    }

    /** Changes a message where it is: in the buffer, or (undefined) behind it. */
    const change = <E>(
      roomId: string,
      messageId: string,
      type: "message.edited" | "message.deleted" | "message.reacted",
      by: By,
      apply: (message: Message) => Effect.Effect<Message | undefined, E>
    ) =>
      Effect.gen(function* () {
        for (let left = attempts; left > 0; left--) {
          const entry: BufferedMessage | undefined = yield* buffer.message(roomId, messageId)
          if (entry === undefined) return undefined
          const after = yield* apply(entry.message)
          if (after === undefined) return told(entry.message)
          const next = { ...entry, edition: entry.edition + 1, message: after }
          if (yield* buffer.replace(next, { type, at: by.at, event: messageEvent(type, after) })) return told(after)
        }
        return yield* uncertain()
      })
    const orDurable =
      <A, E2>(direct: () => Effect.Effect<Committed<A>, E2>) =>
      <E>(effect: Effect.Effect<Committed<A> | undefined, E | BufferUnavailable>) =>
        Effect.flatMap(
          effect.pipe(orElse(() => Effect.succeed(undefined))),
          (done): Effect.Effect<Committed<A>, E2> => (done === undefined ? direct() : Effect.succeed(done))
        )

    const roleOf = (roomId: string, user: string): Effect.Effect<Role | undefined, StorageUnavailable> =>
      durable.member(roomId, user).pipe(
        Effect.map(({ role }) => role),
        Effect.catchTags({
          NotAMember: () => Effect.succeed(undefined),
          RoomNotFound: () => Effect.succeed(undefined)
        })
      )

    return Repository.of({
      ...durable,
      document,
      updateDocument,
      switchDocument: Effect.fnUntraced(function* (roomId, name, by) {
        // What the former one has is in Postgres before it is closed, and so is what came while it was.
        yield* flusher.flushRoom(roomId)
        const switched = yield* durable.switchDocument(roomId, name, by)
        yield* load(roomId).pipe(
          Effect.catchTags({
            RoomNotFound: () => Effect.void,
            BufferUnavailable: () => pass(roomId, name)
          })
        )
        yield* flusher.flushRoom(roomId)
        const value = yield* Effect.catchTag(document(roomId, name), "RoomNotFound", () =>
          Effect.succeed(switched.value)
        )
        return { ...switched, value }
      }),
      flushRoom: (roomId) => flusher.flushRoom(roomId),
      sendMessage,
      editMessage: (roomId, messageId, body, by) =>
        change(roomId, messageId, "message.edited", by, (message) => Effect.fromResult(edited(body, by)(message))).pipe(
          orDurable(() => durable.editMessage(roomId, messageId, body, by))
        ),
      deleteMessage: (roomId, messageId, by) =>
        change(roomId, messageId, "message.deleted", by, (message) =>
          Effect.gen(function* () {
            const role = message.author === by.user ? undefined : yield* roleOf(roomId, by.user)
            const result: Result.Result<Message | undefined, MessageNotFound> = deleted(role, by)(message)
            return yield* Effect.fromResult(result)
          })
        ).pipe(
          Effect.map((done) => (done === undefined ? undefined : told<void>(undefined))),
          orDurable(() => durable.deleteMessage(roomId, messageId, by))
        ),
      react: (roomId, messageId, emoji, adds, by) =>
        change(roomId, messageId, "message.reacted", by, (message) =>
          Effect.fromResult(reacted(emoji, adds, by)(message))
        ).pipe(orDurable(() => durable.react(roomId, messageId, emoji, adds, by))),
      messages: (roomId, page) =>
        Effect.flatMap(
          buffer.messages(roomId).pipe(
            surely,
            orElse(() => Effect.succeed([]))
          ),
          (waiting) => mergePage(waiting, page, (asked) => durable.messages(roomId, asked))
        ),
      message: (roomId, messageId) =>
        Effect.flatMap(
          buffer.message(roomId, messageId).pipe(
            surely,
            orElse(() => Effect.succeed(undefined))
          ),
          (found) => (found === undefined ? durable.message(roomId, messageId) : Effect.succeed(found.message))
        ),
      roomOfMessage: (messageId) =>
        Effect.flatMap(
          buffer.roomOfMessage(messageId).pipe(
            surely,
            orElse(() => Effect.succeed(undefined))
          ),
          (roomId) => (roomId === undefined ? durable.roomOfMessage(messageId) : Effect.succeed(roomId))
        )
    })
  })
)
