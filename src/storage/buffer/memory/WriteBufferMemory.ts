// The buffer in memory, for tests: each operation is one step, as a script is in Redis, and time is that of Effect's Clock.
// Nobody is told of anything; what would have been told is counted. Rooms that are quiet are never forgotten, and a claim takes
// any number of rooms.
import { Clock, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { RoomEvent } from "../../../domain/RoomEvent.ts"
import {
  type BufferedDocument,
  type BufferedMessage,
  dirtyAtOnce,
  dirtyBytes,
  dueAt,
  dueBytes,
  type Updated,
  type Waiting,
  type WaitingQuery,
  WriteBuffer
} from "../WriteBuffer.ts"

interface HeldDocument {
  /** The lease in which it was compared with what is saved. */
  lease: number
  name: string
  text: string
  version: number
  savedVersion: number
  author: string
  at: string
  /** Once it is saved; undefined: it waits. */
  forgottenAt: number | undefined
}

interface StoredRoom {
  open: string | undefined
  openLease: number
  ordinal: number
  readonly documents: Map<string, HeldDocument>
  /** Of documents that wait. */
  readonly waiting: Set<string>
  readonly messages: Map<string, BufferedMessage>
  /** Of the messages. */
  bytes: number
  /** By author and key. */
  readonly once: Map<string, { readonly messageId: string; readonly until: number }>
}

const nothing = { author: "", at: "", version: -1, text: "", savedVersion: 0 }

/** As in Redis. */
const rememberedMs = 24 * 3_600_000
const whereaboutsMs = 6 * 3_600_000

export const make = (intervalMs: number) =>
  Effect.sync(() => {
    let run = SecureRandom.uuidV4Unsafe()
    const listeners = new Set<() => void>()
    const rooms = new Map<string, StoredRoom>()
    const due = new Map<string, number>()
    const since = new Map<string, number>()
    const whereabouts = new Map<string, { readonly roomId: string; readonly until: number }>()
    const counts = new Map<RoomEvent["type"], number>()

    const tell = (type: RoomEvent["type"]) => counts.set(type, (counts.get(type) ?? 0) + 1)
    const step = <A>(one: (now: number) => A) => Effect.map(Clock.currentTimeMillis, one)

    const opened = (roomId: string): StoredRoom => {
      const known = rooms.get(roomId)
      if (known !== undefined) return known
      const room = {
        open: undefined,
        openLease: 0,
        ordinal: 0,
        documents: new Map(),
        waiting: new Set<string>(),
        messages: new Map(),
        bytes: 0,
        once: new Map()
      }
      rooms.set(roomId, room)
      return room
    }
    const find = (room: StoredRoom, name: string, now: number) => {
      const found = room.documents.get(name)
      if (found?.forgottenAt === undefined || found.forgottenAt > now) return found
      room.documents.delete(name)
      return undefined
    }
    const waits = (roomId: string, now: number) => {
      if (!due.has(roomId)) due.set(roomId, now + intervalMs)
      if (!since.has(roomId)) since.set(roomId, now)
    }
    /** With too many messages, or too big ones, it is due at once. */
    const hurry = (roomId: string, { bytes, messages }: StoredRoom, now: number) => {
      if (messages.size >= dueAt || bytes >= dueBytes) due.set(roomId, Math.min(due.get(roomId) ?? now, now))
    }
    const toDocument = ({ name, savedVersion, text, version }: HeldDocument): BufferedDocument => ({
      name,
      text,
      version,
      savedVersion
    })

    const losses = new Map<string, { rescued: number; isCounted: boolean }>()
    const lossOf = (run: string) => {
      const found = losses.get(run) ?? { rescued: 0, isCounted: false }
      losses.set(run, found)
      return found
    }

    const buffer = WriteBuffer.of({
      rescued: (run, entries) =>
        step(() => {
          lossOf(run).rescued += entries
        }),
      loss: (run, missing) =>
        step(() => {
          const found = lossOf(run)
          if (found.isCounted) return 0
          found.isCounted = true
          return Math.max(0, missing - found.rescued)
        }),
      onReturn: (listener) =>
        Effect.acquireRelease(
          Effect.sync(() => void listeners.add(listener)),
          () => Effect.sync(() => void listeners.delete(listener))
        ),
      document: (roomId, name, lease) =>
        step((now) => {
          const room = rooms.get(roomId)
          const wanted = name ?? (room?.openLease === lease ? room.open : undefined)
          const found = room === undefined || wanted === undefined ? undefined : find(room, wanted, now)
          return found?.lease === lease ? toDocument(found) : undefined
        }),
      load: (roomId, { name, text, version }, isOpen, lease) =>
        step((now) => {
          const room = opened(roomId)
          if (isOpen) Object.assign(room, { open: name, openLease: lease })
          const there = find(room, name, now)
          const { author, at, ...before } = there ?? { ...nothing, lease }
          const isNewer = version > before.version || (version === before.version && before.lease !== lease)
          if (isNewer) room.waiting.delete(name)
          room.documents.set(name, {
            name,
            lease,
            text: isNewer ? text : before.text,
            version: isNewer ? version : before.version,
            savedVersion: Math.max(before.savedVersion, version),
            author,
            at,
            forgottenAt: room.waiting.has(name) ? undefined : now + rememberedMs
          })
        }),
      update: (roomId, { at, baseVersion, lease, name, text, user }) =>
        step((now): Updated => {
          const room = opened(roomId)
          if (room.open === undefined || room.openLease !== lease) return { _tag: "Unknown", run }
          if (room.open !== name) return { _tag: "NotOpen", name: room.open }
          const document = find(room, name, now)
          if (document?.lease !== lease) return { _tag: "Unknown", run }
          const { version } = document
          if (baseVersion !== version) return { _tag: "Conflict", version, text: document.text }
          Object.assign(document, { text, version: baseVersion + 1, author: user, at, forgottenAt: undefined })
          const isNew = !room.waiting.has(name)
          room.waiting.add(name)
          waits(roomId, now)
          tell("document.updated")
          return { _tag: "Updated", savedVersion: document.savedVersion, isNew }
        }),
      append: (message, key) =>
        step((now) => {
          const { author, messageId, roomId } = message
          const room = opened(roomId)
          whereabouts.set(messageId, { roomId, until: now + whereaboutsMs })
          if (key !== undefined) {
            const once = JSON.stringify([author, key])
            const known = room.once.get(once)
            if (known !== undefined && known.until > now) return { sameAs: known.messageId }
            room.once.set(once, { messageId, until: now + rememberedMs })
          }
          if (room.messages.has(messageId)) return { sameAs: messageId }
          const ordinal = Math.max(room.ordinal + 1, now * 1000)
          room.ordinal = ordinal
          const entry = { version: 0, ordinal, key: key ?? null, message }
          room.messages.set(messageId, entry)
          room.bytes += bytesOf(entry)
          waits(roomId, now)
          hurry(roomId, room, now)
          tell("message.sent")
          return { ordinal }
        }),
      message: (roomId, messageId) => step(() => rooms.get(roomId)?.messages.get(messageId)),
      roomOfMessage: (messageId) =>
        step((now) => {
          const found = whereabouts.get(messageId)
          return found === undefined || found.until <= now ? undefined : found.roomId
        }),
      replace: (entry, { type }) =>
        step((now) => {
          const { messageId, roomId } = entry.message
          const room = opened(roomId)
          const there = room.messages.get(messageId)
          if (there?.version !== entry.version - 1) return false
          room.messages.set(messageId, entry)
          room.bytes += bytesOf(entry) - bytesOf(there)
          hurry(roomId, room, now)
          tell(type)
          return true
        }),
      messages: (roomId, query) => step(() => someOf(inOrder(rooms.get(roomId)), query)),
      claim: ({ all, leaseMs }) =>
        step((now) => {
          const claimed = [...due].filter(([, at]) => all || at <= now).sort(([, a], [, b]) => a - b)
          for (const [roomId] of claimed) due.set(roomId, now + leaseMs)
          return claimed.map(([roomId]) => roomId)
        }),
      dirty: (roomId) =>
        step((now) => {
          const room = rooms.get(roomId)
          if (room === undefined) return { readAt: now, isWhole: true, documents: [], messages: [] }
          const documents = [...room.waiting].flatMap((name) => {
            const found = find(room, name, now)
            if (found === undefined) return []
            const { at, author, text, version } = found
            return [{ name, text, version, author, at }]
          })
          const messages = inOrder(room)
          let bytes = 0
          const some = messages.slice(0, dirtyAtOnce).filter((entry, n) => {
            bytes += bytesOf(entry)
            return n === 0 || bytes <= dirtyBytes
          })
          const isWhole = some.length === messages.length
          return { readAt: isWhole ? now : (since.get(roomId) ?? now), isWhole, documents, messages: some }
        }),
      settle: (roomId, saved) =>
        step((now) => {
          const room = rooms.get(roomId)
          for (const { name, version } of saved.documents) {
            const document = room?.documents.get(name)
            if (document === undefined) continue
            document.savedVersion = Math.max(document.savedVersion, version)
            if (document.version !== version) continue
            room?.waiting.delete(name)
            document.forgottenAt = now + rememberedMs
          }
          for (const { version, message } of saved.messages) {
            const there = room?.messages.get(message.messageId)
            if (room === undefined || there?.version !== version) continue
            room.messages.delete(message.messageId)
            room.bytes -= bytesOf(there)
          }
          if (room === undefined || room.waiting.size + room.messages.size === 0) {
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
      /** How many events of a type would have been told so far. */
      told: (type: RoomEvent["type"]) => counts.get(type) ?? 0,
      /** That another document was opened was told. */
      switched: (roomId: string) => {
        opened(roomId).open = undefined
      },
      /** It comes back empty. */
      restart: () => {
        run = SecureRandom.uuidV4Unsafe()
        for (const all of [rooms, due, since, whereabouts]) all.clear()
        for (const listener of listeners) listener()
      }
    }
  })

const bytesOf = (entry: BufferedMessage) => Buffer.byteLength(JSON.stringify(entry))

const someOf = (
  all: ReadonlyArray<BufferedMessage>,
  { before, holding = [], limit, maxBytes }: WaitingQuery
): Waiting => {
  const last = typeof before === "string" ? all.find(({ message }) => message.messageId === before) : undefined
  const until = typeof before === "string" ? (last?.ordinal ?? 0) : (before ?? Number.POSITIVE_INFINITY)
  const entries: Array<BufferedMessage> = []
  let from: number | undefined
  let bytes = 0
  for (const entry of all.filter(({ ordinal }) => ordinal < until).reverse()) {
    const text = JSON.stringify(entry)
    if (!holding.every((part) => text.includes(part))) continue
    bytes += Buffer.byteLength(text)
    if (entries.length === limit || (entries.length > 0 && bytes > maxBytes)) {
      from = entries.at(-1)?.ordinal
      break
    }
    entries.push(entry)
  }
  return { entries: entries.reverse(), from, end: last?.ordinal, oldest: all[0]?.ordinal }
}

const inOrder = (room: StoredRoom | undefined): ReadonlyArray<BufferedMessage> =>
  [...(room?.messages.values() ?? [])].sort((a, b) => a.ordinal - b.ordinal)

export const layer = (intervalMs: number) =>
  Layer.effect(
    WriteBuffer,
    Effect.map(make(intervalMs), ({ buffer }) => buffer)
  )
