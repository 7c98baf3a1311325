// The write buffer in memory. Each operation is one step, which also publishes its event, as a script does in Redis.
// Time is that of Effect's Clock. A claim takes any number of rooms.
import { Clock, Effect, Layer, Struct } from "effect"
import { RoomLog } from "../../../infra/RoomLog.ts"
import {
  type BufferedMessage,
  dirtyAtOnce,
  dirtyBytes,
  dueAt,
  dueBytes,
  type Waiting,
  type WaitingQuery,
  WriteBuffer
} from "../WriteBuffer.ts"
import { StoredRoom, WriteBufferState } from "./WriteBufferState.ts"

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

const onceOf = (roomId: string, author: string, key: string) => JSON.stringify([roomId, author, key])

const make = (state: WriteBufferState["Service"], log: RoomLog["Service"], intervalMs: number) => {
  const { counted, due, messageRooms, once, rescued, returned, roomOf, rooms, since } = state
  const step = <A>(one: (now: number) => A) => Effect.map(Clock.currentTimeMillis, one)

  /** The name of the open document, unless another one was opened since, or it is not known in this lease. */
  const openIn = (roomId: string, { open }: StoredRoom, lease: number) =>
    open?.lease === lease && open.switches === log.find(roomId)?.switches ? open.name : undefined
  const wait = (roomId: string, room: StoredRoom, lease: number, now: number) => {
    if (!due.has(roomId)) due.set(roomId, now + intervalMs)
    if (since.has(roomId)) return
    since.set(roomId, now)
    room.waitsUnder = lease
  }
  /** With too many messages, or too big ones, a room is due at once. */
  const hurry = (roomId: string, { bytes, messages }: StoredRoom, now: number) => {
    if (messages.size >= dueAt || bytes >= dueBytes) due.set(roomId, Math.min(due.get(roomId) ?? now, now))
  }
  const part = () => `${state.run()} ${state.origin()}`
  const peek = (roomId: string) => rooms.get(roomId) ?? new StoredRoom()

  return WriteBuffer.of({
    onReturn: returned.add,
    rescued: (run, entries) => step(() => void rescued.set(run, (rescued.get(run) ?? 0) + entries)),
    loss: (run, missing) =>
      step(() => {
        if (counted.has(run)) return 0
        counted.set(run, true)
        return Math.max(0, missing - (rescued.get(run) ?? 0))
      }),
    document: (roomId, name, lease) =>
      step(() => {
        const room = peek(roomId)
        const wanted = name ?? openIn(roomId, room, lease)
        const found = wanted === undefined ? undefined : room.documents.get(wanted)
        return found?.lease === lease ? Struct.pick(found, ["name", "text", "version", "savedVersion"]) : undefined
      }),
    load: (roomId, { name, text, version }, isOpen, lease, parts) =>
      step(() => {
        if (!parts.includes(part())) return false
        const room = roomOf(roomId)
        const { switches } = log.open(roomId)
        if (isOpen) room.open = { name, lease, switches }
        const known = room.documents.get(name) ?? { text, author: "", at: "", version: -1, savedVersion: 0, lease }
        const isNewer = version > known.version || (version === known.version && known.lease !== lease)
        if (isNewer) room.waiting.delete(name)
        room.put({
          ...known,
          ...(isNewer && { text, version }),
          name,
          lease,
          savedVersion: Math.max(known.savedVersion, version)
        })
        return true
      }),
    update: (roomId, { at, baseVersion, connectionId, event, lease, name, seen, text, user }) =>
      step((now) => {
        const room = roomOf(roomId)
        const { epoch, people } = log.open(roomId)
        if (seen !== undefined && (seen.epoch !== epoch || seen.people !== people)) return { _tag: "Unsure" } as const
        const run = state.run()
        const open = openIn(roomId, room, lease)
        if (open === undefined) return { _tag: "Unknown", run } as const
        if (open !== name) return { _tag: "NotOpen", name: open } as const
        const known = room.documents.get(name)
        if (known?.lease !== lease) return { _tag: "Unknown", run } as const
        const { savedVersion, version } = known
        if (baseVersion !== version) return { _tag: "Conflict", version, text: known.text } as const
        room.put({ ...known, text, version: version + 1, author: user, at })
        const isNew = !room.waiting.has(name)
        room.waiting.add(name)
        wait(roomId, room, lease, now)
        log.append(roomId, { at, type: "document.updated", subject: connectionId, event })
        return { _tag: "Updated", savedVersion, isNew } as const
      }),
    append: (message, key, event, lease) =>
      step((now) => {
        const { at, author, messageId, roomId } = message
        const room = roomOf(roomId)
        messageRooms.set(messageId, roomId)
        if (key !== undefined) {
          const known = once.get(onceOf(roomId, author, key))
          if (known !== undefined) return { sameAs: known }
          once.set(onceOf(roomId, author, key), messageId)
        }
        if (room.messages.has(messageId)) return { sameAs: messageId }
        const ordinal = Math.max(room.ordinal + 1, now * 1000)
        room.ordinal = ordinal
        const entry = { version: 0, ordinal, key: key ?? null, message }
        room.messages.set(messageId, entry)
        room.bytes += bytesOf(entry)
        wait(roomId, room, lease, now)
        hurry(roomId, room, now)
        log.append(roomId, { at, type: "message.sent", subject: "", event })
        return { ordinal }
      }),
    message: (roomId, messageId) => step(() => peek(roomId).messages.get(messageId)),
    roomOfMessage: (messageId) => step(() => messageRooms.get(messageId)),
    replace: (entry, { at, event, type }) =>
      step((now) => {
        const { messageId, roomId } = entry.message
        const room = peek(roomId)
        const before = room.messages.get(messageId)
        if (before?.version !== entry.version - 1) return false
        room.messages.set(messageId, entry)
        room.bytes += bytesOf(entry) - bytesOf(before)
        hurry(roomId, room, now)
        log.append(roomId, { at, type, subject: "", event })
        return true
      }),
    messages: (roomId, query) => step(() => toWaiting(peek(roomId), query)),
    claim: ({ all, leaseMs }) =>
      step((now) => {
        const claimed = [...due].filter(([, at]) => all || at <= now).sort(([, a], [, b]) => a - b)
        for (const [roomId] of claimed) due.set(roomId, now + leaseMs)
        return claimed.map(([roomId]) => roomId)
      }),
    dirty: (roomId) =>
      step((now) => {
        const room = peek(roomId)
        const messages = firstOf(inOrder(room), dirtyAtOnce, dirtyBytes)
        const isWhole = messages.length === room.messages.size
        const documents = [...room.waiting]
          .flatMap((name) => room.documents.get(name) ?? [])
          .map(Struct.pick(["name", "text", "version", "author", "at"]))
        const readAt = isWhole ? now : (since.get(roomId) ?? now)
        return { readAt, lease: room.waitsUnder, isWhole, documents, messages }
      }),
    settle: (roomId, saved) =>
      step((now) => {
        const room = peek(roomId)
        for (const { name, version } of saved.documents) {
          const known = room.documents.get(name)
          if (known === undefined) continue
          if (known.version === version) room.waiting.delete(name)
          room.put({ ...known, savedVersion: Math.max(known.savedVersion, version) })
        }
        for (const { message, version } of saved.messages) {
          const there = room.messages.get(message.messageId)
          if (there?.version !== version) continue
          room.messages.delete(message.messageId)
          room.bytes -= bytesOf(there)
        }
        if (!room.isWaiting) {
          due.delete(roomId)
          since.delete(roomId)
        } else {
          due.set(roomId, now + intervalMs)
          since.set(roomId, saved.readAt)
          if (saved.lease !== undefined) room.waitsUnder = saved.lease
        }
      }),
    depth: step((now) => ({
      entries: [...since.keys()].reduce((sum, roomId) => {
        const { messages, waiting } = peek(roomId)
        return sum + messages.size + waiting.size
      }, 0),
      oldestAgeMs: since.size === 0 ? undefined : now - [...since.values()].reduce((a, b) => Math.min(a, b)),
      run: state.run(),
      runs: [state.run()],
      parts: [part()],
      origin: state.origin()
    }))
  })
}

/** Shared by the instances over one state and one room log. */
export const layerShared = (intervalMs: number) =>
  Layer.effect(
    WriteBuffer,
    Effect.gen(function* () {
      return make(yield* WriteBufferState, yield* RoomLog, intervalMs)
    })
  )
