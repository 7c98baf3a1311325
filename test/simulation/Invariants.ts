// What must hold at the end of every run, once all is there again and quiet.
import { Context, Effect } from "effect"
import { PresenceState } from "../../src/cluster/rooms/PresenceMemory.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { RecordStreamState } from "../../src/storage/records/RecordLogMemory.ts"
import { RecordStoreState } from "../../src/storage/records/RecordStore.ts"
import { MemoryRooms } from "../../src/storage/rooms/memory/MemoryRooms.ts"
import type { Cluster } from "./Cluster.ts"
import type { Weather } from "./Faults.ts"
import type { History, Version } from "./History.ts"
import type { RoomView } from "./RoomView.ts"
import type { User } from "./Workload.ts"

export interface Ended {
  readonly history: History
  readonly cluster: Cluster
  readonly weather: Weather
  readonly users: ReadonlyArray<User>
  /** What each user lists of each room at the end, if the user could. */
  readonly lists: ReadonlyMap<
    User,
    ReadonlyMap<string, ReadonlyArray<{ readonly messageId: string; readonly body: string }>>
  >
}

type Invariant = (ended: Ended, violate: (what: string) => void) => void

const storedMessages = ({ cluster }: Ended) => {
  if (cluster.shared === undefined) return new Map()
  const { messages } = Context.get(cluster.shared, MemoryRooms)
  return messages
}

/** Whether its instance was stalled between its acknowledgement and a loss of Redis's data. */
const isLate = ({ losses, stalls }: History, { instance, isDirect, sentAt }: Version) =>
  !isDirect &&
  stalls.some((stall) => stall.instance === instance && losses.some(({ at }) => sentAt <= stall.at && stall.at <= at))

/** How often a resume repeated it, among as many first events as there may be messages with two events. */
const repeatedBy = ({ repeats }: RoomView, messageId: string, { unsure }: Weather) =>
  repeats.filter((repeat) => repeat.messageId === messageId && repeat.place < unsure.size).length

/** In their order, and those that have two places after them. */
const contentOf = (list: ReadonlyArray<{ readonly messageId: string; readonly body: string }>, { unsure }: Weather) => {
  const one = ({ body, messageId }: { readonly messageId: string; readonly body: string }) => `${messageId} ${body}`
  const moved = list.filter(({ messageId }) => unsure.has(messageId)).map(one)
  return JSON.stringify([list.filter(({ messageId }) => !unsure.has(messageId)).map(one), moved.sort()])
}

export const invariants: Readonly<Record<string, Invariant>> = {
  /** Every request was answered, or its connection has ended. */
  settled: ({ history }, violate) => {
    for (const { method, outcome, user } of history.asked)
      if (outcome === undefined) violate(`${user}'s ${method} is not settled`)
  },

  /** Every acknowledged message is stored, once, as it was last acknowledged. */
  "messages stored": (ended, violate) => {
    const { history } = ended
    const stored = storedMessages(ended)
    const ids = new Map<string, string>()
    for (const { author, key, messageId } of history.sent) {
      const once = JSON.stringify([author, key])
      if (key !== undefined && (ids.get(once) ?? messageId) !== messageId) violate(`${once} has two ids`)
      ids.set(once, messageId)
      const there = stored.get(messageId)
      if (there === undefined) {
        violate(`${author}'s message ${messageId} ${key} is not stored`)
        continue
      }
      const { body, deletedAt } = there.message
      if (history.deleted.has(messageId) && deletedAt === null) violate(`${messageId} is deleted, and there`)
      if (deletedAt !== null) {
        if (!history.maybeDeleted.has(messageId)) violate(`${messageId} was deleted by nobody`)
        continue
      }
      const possible = history.bodies.get(messageId)?.possible
      if (possible !== undefined && !possible.has(body))
        violate(`${messageId} is ${body}, and should be ${[...possible].join(" or ")}`)
    }
    const bodies = new Map<string, number>()
    for (const { message } of stored.values()) {
      if (message.editedAt !== null || message.deletedAt !== null) continue
      bodies.set(message.body, (bodies.get(message.body) ?? 0) + 1)
    }
    for (const [body, count] of bodies) if (count > 1) violate(`${body} is stored ${count} times`)
  },

  /**
   * Every acknowledged message was seen by each user who is in its room, and by no one twice: but one that the buffer
   * may have taken without an answer, or that it did not know from Postgres, is written to both, and its event may come
   * again.
   *
   * Such a message's second event is kept from those who are connected, and their numbers fall behind those of the
   * stream by one. Who then resumes on another instance is sent the last event again, as many as were kept back
   * (`repeatedBy`).
   */
  "messages seen": ({ history, users, weather }, violate) => {
    for (const { client } of users) {
      for (const view of client.rooms.values()) {
        for (const { author, body, messageId, roomId } of history.sent) {
          if (roomId !== view.roomId || view.sent.has(messageId) || view.inState.has(messageId)) continue
          violate(`${client.user} did not see ${author}'s ${body} (${messageId})`)
        }
        for (const [messageId, count] of view.sent)
          if (count > 1 + repeatedBy(view, messageId, weather) && !weather.unsure.has(messageId))
            violate(`${client.user} saw ${messageId} sent ${count} times`)
      }
    }
  },

  /**
   * An event has one number for all, unless events were delivered around a Redis that did not answer, or because
   * Postgres did not say what comes before them.
   */
  "one order": ({ users, weather }, violate) => {
    if (weather.failed.redis > 0 || weather.failedOutbox) return
    const events = new Map<string, string>()
    for (const { client } of users) {
      for (const view of client.rooms.values()) {
        for (const [number, event] of view.byNumber) {
          const before = events.get(number)
          if (before === undefined) events.set(number, event)
          else if (before !== event) violate(`${number} is ${before} and, for ${client.user}, ${event}`)
        }
      }
    }
  },

  /**
   * The lists of all users are the same, and those of the store: but a message that the buffer may have taken without
   * an answer has a place there and one in Postgres, and a page has it at the one or the other.
   */
  lists: (ended, violate) => {
    const stored = [...storedMessages(ended).values()]
    for (const [{ client }, rooms] of ended.lists) {
      for (const [roomId, list] of rooms) {
        const expected = stored
          .filter(({ room }) => room.room.roomId === roomId)
          .sort((a, b) => a.ordinal - b.ordinal)
          .map(({ message }) => message)
        if (contentOf(expected, ended.weather) !== contentOf(list, ended.weather))
          violate(`${client.user} lists ${list.length} messages of ${roomId}, stored are ${expected.length}`)
      }
    }
  },

  /** Who is connected is present, once, and nobody else. */
  presence: ({ cluster, users }, violate) => {
    if (cluster.shared === undefined) return
    const { rooms } = Context.get(cluster.shared, PresenceState)
    const roomIds = new Set(users.flatMap(({ client }) => [...client.rooms.keys()]))
    for (const roomId of roomIds) {
      const expected = users.flatMap(({ client }) =>
        client.rooms.get(roomId)?.isIn === true ? [`${client.user} 1`] : []
      )
      const found = [...(rooms.get(roomId)?.totals.values() ?? [])].map(
        ({ connections, user }) => `${user} ${connections}`
      )
      if (expected.sort().join() !== found.sort().join())
        violate(`present are ${found.join(", ")}, connected ${expected.join(", ")}`)
    }
  },

  /**
   * A version is acknowledged once, and the last one is the one that is stored. Excused: Redis lost it, and its
   * instance was stalled for longer than its lease: before it saved its copy, another instance wrote the same version
   * to Postgres.
   */
  documents: ({ cluster, history }, violate) => {
    if (cluster.shared === undefined) return
    const { rooms } = Context.get(cluster.shared, MemoryRooms)
    for (const [roomId, room] of rooms) {
      for (const [name, { text, version }] of room.documents) {
        const known = history.versions.filter((one) => one.roomId === roomId && (one.name ?? name) === name)
        for (const one of known.filter((one) => one.name === name)) {
          if (one.version > version) violate(`version ${one.version} of ${name} was acknowledged, ${version} is stored`)
          if (one.version === version && one.text !== text && !isLate(history, one))
            violate(`version ${version} of ${name} was acknowledged as ${one.text}, ${text} is stored`)
        }
      }
    }
    const texts = new Map<string, string>()
    for (const { name, roomId, text, version } of history.versions) {
      if (name === undefined) continue
      const once = JSON.stringify([roomId, name, version])
      if (texts.has(once))
        violate(`version ${version} of ${name} was acknowledged as ${texts.get(once)} and as ${text}`)
      texts.set(once, text)
    }
  },

  /**
   * An update does not come after a newer one. Excused: one that was written around the buffer, whose event waited in
   * the outbox for Redis, while newer updates went to the buffer, which publishes at once.
   */
  versions: ({ history, users }, violate) => {
    for (const { client } of users) {
      for (const view of client.rooms.values()) {
        for (const { after, name, version } of view.late) {
          const isInBuffer = history.versions.some(
            (one) => one.roomId === view.roomId && one.name === name && one.version === version && !one.isDirect
          )
          if (isInBuffer) violate(`${client.user} saw version ${version} of ${name} after ${after}`)
        }
      }
    }
  },

  /**
   * Every acknowledged call has its record, once, but for those that memory acknowledged on an instance that died. What
   * an instance accepted is stored, waits, or was dropped.
   *
   * Excused: a record that was in a Redis which lost its data, and whose instance died as well. And the sum, once Redis
   * lost its data: a record that was stored, and lost by Redis before it was removed there, is counted by no instance.
   */
  records: ({ cluster, history, weather }, violate) => {
    if (cluster.shared === undefined) return
    const { records } = Context.get(cluster.shared, RecordStoreState)
    const { log } = Context.get(cluster.shared, RecordStreamState)
    const alive = new Set(cluster.instances.map(({ name }) => name))
    for (const { ack, instance, recordId, sentAt } of history.records) {
      const isDead = !alive.has(instance)
      if (isDead && ack === "memory") continue
      if (isDead && ack === "redis" && history.losses.some(({ at }) => sentAt <= at)) continue
      if (!records.has(recordId)) violate(`the record ${recordId} (${ack}, ${instance}) is not stored`)
    }
    // An instance that died counts no more, and a record that Redis took without an answer counts twice.
    if (cluster.ended > 0 || weather.failed.redis > 0 || history.losses.length > 0) return
    let [queued, completed, dropped] = [0, 0, 0]
    for (const { built } of cluster.instances) {
      if (built === undefined) continue
      const metrics = Context.get(built.context, Metrics)
      queued += metrics.recordsQueued.value
      completed += metrics.recordsCompleted.value
      dropped += metrics.recordsDropped.value
    }
    const { waiting } = Effect.runSync(Effect.orDie(log.state))
    if (queued !== completed + waiting + dropped)
      violate(`${queued} were accepted: ${completed} are stored, ${waiting} wait, ${dropped} were dropped`)
  }
}

export const judge = (ended: Ended): void => {
  for (const [name, invariant] of Object.entries(invariants))
    invariant(ended, (what) => ended.history.violate(name, what))
}
