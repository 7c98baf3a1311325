// The repository with a buffer before it: document updates and messages are acknowledged when the buffer has them, and reach
// Postgres in batches (Flusher.ts); everything else passes through. Reads see the buffer: it is asked before Postgres, so
// that what moves from the one to the other meanwhile is found in one of them, or in both.
//
// When the buffer is not to be used (BufferLease.ts says so), reads and writes go straight to Postgres, after what this
// instance acknowledged was brought there. What is there already (documents, and messages that are changed) is written past the
// buffer only when nobody uses it: where others still do, that is waited for as long as a dead one's hold may last, then the
// write is refused. A write that the buffer may or may not have kept fails: repeating it, on either way, keeps it once.
import { Cache, Duration, Effect, Exit, Layer, type Result } from "effect"
import { conflictWith, type Document, updatedEvent } from "../domain/Document.ts"
import { type Message, type MessageNotFound, ThreadNotFound } from "../domain/Message.ts"
import { BufferFull, MembershipUnsure, type Role, StorageUnavailable } from "../domain/Room.ts"
import { Acknowledged } from "./Acknowledged.ts"
import { BufferHeld } from "./BufferHolds.ts"
import { BufferLease, type Lease } from "./BufferLease.ts"
import { Durable } from "./Durable.ts"
import { Flusher } from "./Flusher.ts"
import { type By, type Committed, type DocumentUpdate, type NewMessage, Repository } from "./Repository.ts"
import { type BufferedMessage, BufferUnavailable, RoomBuffer, type Update, type Updated } from "./RoomBuffer.ts"
import { deleted, edited, messageEvent, reacted } from "./repository/Changes.ts"
import { mergePage } from "./repository/Pages.ts"

const attempts = 6
const maxNames = 20_000
/** How often, ms, it is looked whether others use the buffer still. */
const heldEveryMs = 100

const told = <A>(value: A): Committed<A> => ({ value, changes: [] })
const uncertain = () => new StorageUnavailable({ reason: "the buffer did not say whether it was kept" })

export const layer = Layer.effect(
  Repository,
  Effect.gen(function* () {
    const buffer = yield* RoomBuffer
    const durable = yield* Durable
    const flusher = yield* Flusher
    const leases = yield* BufferLease
    const acknowledged = yield* Acknowledged

    // The document that each room has open, as last heard; the buffer says when that is another.
    const names = new Map<string, string>()
    const remember = (roomId: string, name: string) => {
      names.delete(roomId)
      names.set(roomId, name)
      const [oldest] = names.keys()
      if (names.size > maxNames && oldest !== undefined) names.delete(oldest)
    }

    const threads = yield* Cache.makeWith(durable.roomOfThread, {
      capacity: maxNames,
      timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
    })

    /**
     * By the buffer, if it is to be used, else past it. What did not reach the buffer is tried again; so is a read that was
     * not answered.
     */
    const through = <A, E, A2, E2>(
      what: "read" | "write",
      buffered: (lease: Lease) => Effect.Effect<A, E | BufferUnavailable>,
      direct: Effect.Effect<A2, E2>
    ) => {
      const attempt = (left: number): Effect.Effect<A | A2, Exclude<E, BufferUnavailable> | E2 | StorageUnavailable> =>
        Effect.flatMap(leases.current, (lease) =>
          lease === undefined
            ? what === "write"
              ? Effect.andThen(leases.leave, direct)
              : Effect.flatMap(leases.leaveAll, (isLeft) => (isLeft || left === 1 ? direct : attempt(left - 1)))
            : Effect.catch(buffered(lease), (error) => {
                if (!(error instanceof BufferUnavailable)) return Effect.fail(error as Exclude<E, BufferUnavailable>)
                const again = left > 1 && !(error.isSent && what === "write")
                return Effect.andThen(leases.suspect(), again ? attempt(left - 1) : Effect.fail(uncertain()))
              })
        )
      return attempt(3)
    }

    /** Past the buffer as soon as nobody uses it; by it, should it be there again before that. */
    const unlessHeld = <A, E>(effect: Effect.Effect<A, E | BufferHeld>) =>
      Effect.clockWith((clock) => {
        const until = clock.currentTimeMillisUnsafe() + leases.ttlMs + 2 * heldEveryMs
        const attempt: Effect.Effect<A, Exclude<E, BufferHeld> | StorageUnavailable> = Effect.catch(effect, (error) => {
          if (!(error instanceof BufferHeld)) return Effect.fail(error as Exclude<E, BufferHeld>)
          if (clock.currentTimeMillisUnsafe() > until) {
            return Effect.fail(new StorageUnavailable({ reason: "others use the buffer, which is away here" }))
          }
          return Effect.delay(attempt, heldEveryMs)
        })
        return attempt
      })

    const unlessFull = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.suspend((): Effect.Effect<A, E | BufferFull> => (leases.isFull() ? Effect.fail(new BufferFull()) : effect))

    /** Without the buffer nothing that is known here waits. */
    const flushRoom = (roomId: string) =>
      Effect.catchTag(flusher.flushRoom(roomId), "BufferUnavailable", () => Effect.void)

    /** Makes the open document (or another) of a room known to the buffer; the open one's name. */
    const load = Effect.fnUntraced(function* (roomId: string, lease: number, name?: string) {
      const open = yield* durable.document(roomId)
      yield* buffer.load(roomId, open, true, lease)
      remember(roomId, open.name)
      if (name !== undefined && name !== open.name)
        yield* buffer.load(roomId, yield* durable.document(roomId, name), false, lease)
      return open.name
    })

    const bufferedUpdate = Effect.fnUntraced(function* (
      { number: lease }: Lease,
      roomId: string,
      { baseVersion, name, text }: DocumentUpdate,
      by: By
    ) {
      const { at, connectionId = "", seen, user } = by
      // Postgres is asked only if nobody else did: it may be away.
      let own: string =
        names.get(roomId) ?? (yield* buffer.document(roomId, undefined, lease))?.name ?? (yield* load(roomId, lease))
      for (let left = attempts; left > 0; left--) {
        // Whoever named another document than the open one is late.
        if (name !== undefined && name !== own) {
          const open = yield* buffer.document(roomId, undefined, lease)
          if (open !== undefined && open.name !== name) return yield* conflictWith(open)
          own = open?.name ?? (yield* load(roomId, lease))
          continue
        }
        const event = updatedEvent(own, baseVersion + 1, user, text)
        const update: Update = { name: own, baseVersion, text, user, connectionId, at, event, lease, seen }
        const updated: Updated = yield* buffer.update(roomId, update)
        switch (updated._tag) {
          case "Updated": {
            const version = baseVersion + 1
            acknowledged.document({ roomId, name: own, text, version, author: user, at })
            if (updated.isNew) leases.added(1)
            return told<Document>({ name: own, text, version, savedVersion: updated.savedVersion })
          }
          case "Conflict":
            return yield* conflictWith({ ...updated, name: own })
          case "Unsure":
            return yield* new MembershipUnsure()
          case "NotOpen":
            own = updated.name
            remember(roomId, own)
            continue
          case "Unknown":
            // What another run may have lost has to be saved before Postgres is believed.
            yield* leases.suspect(updated.run)
            if ((yield* leases.current)?.number !== lease) {
              return yield* new BufferUnavailable({ isSent: false, cause: "the lease is over" })
            }
            own = yield* load(roomId, lease)
        }
      }
      return yield* uncertain()
    })

    const updateDocument: Repository["Service"]["updateDocument"] = (roomId, wanted, by) =>
      unlessFull(
        unlessHeld(
          through(
            "write",
            (lease) => bufferedUpdate(lease, roomId, wanted, by),
            leases.past(durable.updateDocument(roomId, { ...wanted, isAhead: true }, by))
          )
        )
      )

    const document: Repository["Service"]["document"] = (roomId, name) =>
      through(
        "read",
        ({ number }) =>
          Effect.gen(function* () {
            const found = yield* buffer.document(roomId, name, number)
            if (found !== undefined) return found
            const opened = yield* load(roomId, number, name)
            return (yield* buffer.document(roomId, name ?? opened, number)) ?? (yield* durable.document(roomId, name))
          }),
        durable.document(roomId, name)
      )

    const bufferedSwitch = Effect.fnUntraced(function* (
      { number: lease }: Lease,
      roomId: string,
      name: string,
      by: By
    ) {
      // What the former one has is in Postgres before it is closed, and so is what came while it was.
      yield* Effect.mapError(flusher.flushRoom(roomId), (error) =>
        error._tag === "BufferUnavailable" ? new BufferUnavailable({ isSent: false, cause: error.cause }) : error
      )
      const switched = yield* durable.switchDocument(roomId, name, by)
      // Should this fail: once the switch was told, the buffer asks anew which one is open.
      yield* Effect.ignore(load(roomId, lease))
      yield* flushRoom(roomId)
      const value = yield* Effect.catchTag(document(roomId, name), "RoomNotFound", () => Effect.succeed(switched.value))
      return { ...switched, value }
    })

    const keptBefore = Effect.fnUntraced(function* (roomId: string, messageId: string) {
      const waiting = yield* buffer.message(roomId, messageId)
      return waiting === undefined ? yield* durable.message(roomId, messageId) : waiting.message
    })

    const sendMessage: Repository["Service"]["sendMessage"] = (wanted: NewMessage) => {
      const { key, ...rest } = wanted
      const { messageId, roomId, threadId } = wanted
      const message: Message = { ...rest, editedAt: null, deletedAt: null, reactions: {} }
      const buffered = Effect.fnUntraced(function* ({ isConfirmed }: Lease) {
        if (threadId !== null && (yield* Cache.get(threads, threadId)) !== roomId) return yield* new ThreadNotFound()
        // The buffer remembers keys for a day, and none from before it was lost; a key is part of its message's id.
        if (key !== undefined && isConfirmed) {
          const saved = yield* Effect.catchTag(
            durable.message(roomId, messageId),
            "StorageUnavailable",
            () => Effect.undefined
          )
          if (saved !== undefined) return told((yield* keptBefore(roomId, messageId)) ?? saved)
        }
        const appended = yield* buffer.append(message, key, messageEvent("message.sent", message)).pipe(
          Effect.catchIf(
            ({ isSent }) => isSent,
            () => Effect.undefined
          )
        )
        // Should the buffer have it after all: its id is the same, and Postgres keeps it once.
        if (appended === undefined) return yield* Effect.andThen(leases.suspect(), durable.sendMessage(wanted))
        if ("sameAs" in appended) return told((yield* keptBefore(roomId, appended.sameAs)) ?? message)
        acknowledged.message({ edition: 0, position: appended.position, key: key ?? null, message })
        leases.added(1)
        return told(message)
      })
      return unlessFull(through("write", buffered, durable.sendMessage(wanted)))
    }

    /** Changes a message where it is: in the buffer, or behind it. */
    const change = <A, E, E2>(
      [roomId, messageId]: readonly [roomId: string, messageId: string],
      type: "message.edited" | "message.deleted" | "message.reacted",
      by: By,
      apply: (message: Message) => Effect.Effect<Message | undefined, E>,
      toValue: (message: Message) => A,
      behind: Effect.Effect<Committed<A>, E2>
    ) => {
      const buffered = Effect.gen(function* () {
        for (let left = attempts; left > 0; left--) {
          const entry: BufferedMessage | undefined = yield* buffer.message(roomId, messageId)
          if (entry === undefined) return yield* behind
          const after = yield* apply(entry.message)
          if (after === undefined) return told(toValue(entry.message))
          const next = { ...entry, edition: entry.edition + 1, message: after }
          if (yield* buffer.replace(next, { type, at: by.at, event: messageEvent(type, after) })) {
            acknowledged.message(next)
            return told(toValue(after))
          }
        }
        return yield* uncertain()
      })
      return unlessHeld(through("write", () => buffered, leases.past(behind)))
    }
    const itself = (message: Message) => message

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
      switchDocument: (roomId, name, by) =>
        unlessHeld(
          through(
            "write",
            (lease) => bufferedSwitch(lease, roomId, name, by),
            leases.past(durable.switchDocument(roomId, name, by))
          )
        ),
      flushRoom,
      sendMessage,
      editMessage: (roomId, messageId, body, by) =>
        change(
          [roomId, messageId],
          "message.edited",
          by,
          (message) => Effect.fromResult(edited(body, by)(message)),
          itself,
          durable.editMessage(roomId, messageId, body, by)
        ),
      deleteMessage: (roomId, messageId, by) =>
        change(
          [roomId, messageId],
          "message.deleted",
          by,
          Effect.fnUntraced(function* (message) {
            const role = message.author === by.user ? undefined : yield* roleOf(roomId, by.user)
            const result: Result.Result<Message | undefined, MessageNotFound> = deleted(role, by)(message)
            return yield* Effect.fromResult(result)
          }),
          () => undefined,
          durable.deleteMessage(roomId, messageId, by)
        ),
      react: (roomId, messageId, emoji, adds, by) =>
        change(
          [roomId, messageId],
          "message.reacted",
          by,
          (message) => Effect.fromResult(reacted(emoji, adds, by)(message)),
          itself,
          durable.react(roomId, messageId, emoji, adds, by)
        ),
      messages: (roomId, page) =>
        through(
          "read",
          () =>
            Effect.flatMap(buffer.messages(roomId), (waiting) =>
              mergePage(waiting, page, (asked) => durable.messages(roomId, asked))
            ),
          durable.messages(roomId, page)
        ),
      message: (roomId, messageId) =>
        through("read", () => keptBefore(roomId, messageId), durable.message(roomId, messageId)),
      roomOfMessage: (messageId) =>
        through(
          "read",
          () =>
            Effect.flatMap(buffer.roomOfMessage(messageId), (roomId) =>
              roomId === undefined ? durable.roomOfMessage(messageId) : Effect.succeed(roomId)
            ),
          durable.roomOfMessage(messageId)
        )
    })
  })
)
