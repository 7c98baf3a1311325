// The write buffer in memory, for tests. Each operation is one step, as a script is in Redis, and time is that of
// Effect's Clock. It publishes no events, forgets nothing that was saved, and a claim takes any number of rooms.
import { Clock, Effect, Struct } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Document } from "../../../domain/Document.ts"
import {
  type BufferedMessage,
  type DirtyDocument,
  dirtyAtOnce,
  dirtyBytes,
  dueAt,
  dueBytes,
  type Waiting,
  type WaitingQuery,
  WriteBuffer
} from "../WriteBuffer.ts"

interface StoredDocument extends Document, DirtyDocument {
  /** The lease in which it was compared with Postgres. */
  readonly lease: number
}

class StoredRoom {
  open: string | undefined
  openLease = 0
  ordinal = 0
  readonly documents = new Map<string, StoredDocument>()
  /** Names of documents that wait. */
  readonly waiting = new Set<string>()
  readonly messages = new Map<string, BufferedMessage>()
  /** Ids of messages, by author and key. */
  readonly once = new Map<string, string>()
}

const inOrder = ({ messages }: StoredRoom): ReadonlyArray<BufferedMessage> =>
  [...messages.values()].sort((a, b) => a.ordinal - b.ordinal)

const bytesOf = (entry: BufferedMessage) => Buffer.byteLength(JSON.stringify(entry))

/** As many of the first entries as the limits allow; the first one may be of any length. */
const firstOf = (entries: ReadonlyArray<BufferedMessage>, limit: number, maxBytes: number) => {
  let bytes = 0
  return entries.slice(0, limit).filter((entry, n) => {
    bytes += bytesOf(entry)
    return n === 0 || bytes <= maxBytes
  })
}

const toWaiting = (room: StoredRoom, { before, containing = [], limit, maxBytes }: WaitingQuery): Waiting => {
  const all = inOrder(room)
  const end = typeof before === "string" ? room.messages.get(before)?.ordinal : undefined
  const until = typeof before === "string" ? (end ?? 0) : (before ?? Number.POSITIVE_INFINITY)
  const wanted = all.filter(
    (entry) => entry.ordinal < until && containing.every((part) => JSON.stringify(entry).includes(part))
  )
  const entries = firstOf(wanted.reverse(), limit, maxBytes).reverse()
  const from = entries.length < wanted.length ? entries[0]?.ordinal : undefined
  return { entries, from, end, oldest: all[0]?.ordinal }
}

export const make = (intervalMs: number) =>
  Effect.sync(() => {
    let run = SecureRandom.uuidV4Unsafe()
    const listeners = new Set<() => void>()
    const rooms = new Map<string, StoredRoom>()
    const due = new Map<string, number>()
    const since = new Map<string, number>()
    const messageRooms = new Map<string, string>()
    const rescued = new Map<string, number>()
    /** The runs whose loss was counted. */
    const counted = new Set<string>()

    const step = <A>(one: (now: number) => A) => Effect.map(Clock.currentTimeMillis, one)

    const roomOf = (roomId: string): StoredRoom => {
      const room = rooms.get(roomId) ?? new StoredRoom()
      rooms.set(roomId, room)
      return room
    }
    const wait = (roomId: string, now: number) => {
      if (!due.has(roomId)) due.set(roomId, now + intervalMs)
      if (!since.has(roomId)) since.set(roomId, now)
    }
    /** With too many messages, or too big ones, a room is due at once. */
    const hurry = (roomId: string, { messages }: StoredRoom, now: number) => {
      const isFull =
        messages.size >= dueAt || [...messages.values()].reduce((sum, one) => sum + bytesOf(one), 0) >= dueBytes
      if (isFull) due.set(roomId, Math.min(due.get(roomId) ?? now, now))
    }

    const buffer = WriteBuffer.of({
      rescued: (of, entries) => step(() => void rescued.set(of, (rescued.get(of) ?? 0) + entries)),
      loss: (of, missing) =>
        step(() => {
          if (counted.has(of)) return 0
          counted.add(of)
          return Math.max(0, missing - (rescued.get(of) ?? 0))
        }),
      onReturn: (listener) =>
        Effect.acquireRelease(
          Effect.sync(() => void listeners.add(listener)),
          () => Effect.sync(() => void listeners.delete(listener))
        ),
      document: (roomId, name, lease) =>
        step(() => {
          const room = roomOf(roomId)
          const wanted = name ?? (room.openLease === lease ? room.open : undefined)
          const found = wanted === undefined ? undefined : room.documents.get(wanted)
          return found?.lease === lease ? Struct.pick(found, ["name", "text", "version", "savedVersion"]) : undefined
        }),
      load: (roomId, { name, text, version }, isOpen, lease) =>
        step(() => {
          const room = roomOf(roomId)
          if (isOpen) Object.assign(room, { open: name, openLease: lease })
          const known = room.documents.get(name) ?? { text, author: "", at: "", version: -1, savedVersion: 0, lease }
          const isNewer = version > known.version || (version === known.version && known.lease !== lease)
          if (isNewer) room.waiting.delete(name)
          room.documents.set(name, {
            ...known,
            ...(isNewer && { text, version }),
            name,
            lease,
            savedVersion: Math.max(known.savedVersion, version)
          })
        }),
      update: (roomId, { at, baseVersion, lease, name, text, user }) =>
        step((now) => {
          const room = roomOf(roomId)
          if (room.open === undefined || room.openLease !== lease) return { _tag: "Unknown", run } as const
          if (room.open !== name) return { _tag: "NotOpen", name: room.open } as const
          const known = room.documents.get(name)
          if (known?.lease !== lease) return { _tag: "Unknown", run } as const
          const { savedVersion, version } = known
          if (baseVersion !== version) return { _tag: "Conflict", version, text: known.text } as const
          room.documents.set(name, { ...known, text, version: version + 1, author: user, at })
          const isNew = !room.waiting.has(name)
          room.waiting.add(name)
          wait(roomId, now)
          return { _tag: "Updated", savedVersion, isNew } as const
        }),
      append: (message, key) =>
        step((now) => {
          const { author, messageId, roomId } = message
          const room = roomOf(roomId)
          messageRooms.set(messageId, roomId)
          if (key !== undefined) {
            const once = JSON.stringify([author, key])
            const known = room.once.get(once)
            if (known !== undefined) return { sameAs: known }
            room.once.set(once, messageId)
          }
          if (room.messages.has(messageId)) return { sameAs: messageId }
          const ordinal = Math.max(room.ordinal + 1, now * 1000)
          room.ordinal = ordinal
          room.messages.set(messageId, { version: 0, ordinal, key: key ?? null, message })
          wait(roomId, now)
          hurry(roomId, room, now)
          return { ordinal }
        }),
      message: (roomId, messageId) => step(() => roomOf(roomId).messages.get(messageId)),
      roomOfMessage: (messageId) => step(() => messageRooms.get(messageId)),
      replace: (entry) =>
        step((now) => {
          const { messageId, roomId } = entry.message
          const room = roomOf(roomId)
          if (room.messages.get(messageId)?.version !== entry.version - 1) return false
          room.messages.set(messageId, entry)
          hurry(roomId, room, now)
          return true
        }),
      messages: (roomId, query) => step(() => toWaiting(roomOf(roomId), query)),
      claim: ({ all, leaseMs }) =>
        step((now) => {
          const claimed = [...due].filter(([, at]) => all || at <= now).sort(([, a], [, b]) => a - b)
          for (const [roomId] of claimed) due.set(roomId, now + leaseMs)
          return claimed.map(([roomId]) => roomId)
        }),
      dirty: (roomId) =>
        step((now) => {
          const room = roomOf(roomId)
          const messages = firstOf(inOrder(room), dirtyAtOnce, dirtyBytes)
          const isWhole = messages.length === room.messages.size
          const documents = [...room.waiting]
            .flatMap((name) => room.documents.get(name) ?? [])
            .map(Struct.pick(["name", "text", "version", "author", "at"]))
          return { readAt: isWhole ? now : (since.get(roomId) ?? now), isWhole, documents, messages }
        }),
      settle: (roomId, saved) =>
        step((now) => {
          const room = roomOf(roomId)
          for (const { name, version } of saved.documents) {
            const known = room.documents.get(name)
            if (known === undefined) continue
            if (known.version === version) room.waiting.delete(name)
            room.documents.set(name, { ...known, savedVersion: Math.max(known.savedVersion, version) })
          }
          for (const { message, version } of saved.messages)
            if (room.messages.get(message.messageId)?.version === version) room.messages.delete(message.messageId)
          if (room.waiting.size + room.messages.size === 0) {
            due.delete(roomId)
            since.delete(roomId)
          } else {
            due.set(roomId, now + intervalMs)
            since.set(roomId, saved.readAt)
          }
        }),
      depth: step((now) => ({
        entries: [...rooms.values()].reduce((sum, { messages, waiting }) => sum + messages.size + waiting.size, 0),
        oldestAgeMs: since.size === 0 ? undefined : now - Math.min(...since.values()),
        run,
        runs: [run],
        origin: "memory"
      }))
    })

    return {
      buffer,
      /** The event of another document's opening was published. */
      switched: (roomId: string) => {
        roomOf(roomId).open = undefined
      },
      /** It comes back empty. */
      restart: () => {
        run = SecureRandom.uuidV4Unsafe()
        for (const all of [rooms, due, since, messageRooms]) all.clear()
        for (const listener of listeners) listener()
      }
    }
  })
