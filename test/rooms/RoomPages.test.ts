// What one answer holds is bounded in bytes, whatever clients put into rooms: pages, lists, a join, a resume.
import { afterAll, assert, beforeAll, it } from "vitest"
import { pageBytes } from "../../src/rooms/Listing.ts"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"

const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value))
/** What an answer has beside one list. */
const rest = 2000

overPairs(
  "answers",
  (start) => {
    let pair: RoomPair
    let ann: RoomClient
    beforeAll(async () => {
      pair = await start()
      ann = await pair.client("ann")
    })
    afterAll(() => pair?.stop())
    const makeRoom = async () => (await ann.call("rooms.create", { title: "a room" })).roomId

    it("a page of big messages has fewer of them, and says so; together the pages are all of them", async () => {
      const roomId = await makeRoom()
      const sent: Array<string> = []
      for (let n = 0; n < 20; n++) {
        sent.push((await ann.call("messages.send", { roomId, body: "漢".repeat(16_000) })).messageId)
      }
      for (const limit of [20, 50, 70, 100]) {
        const page = await ann.call("messages.list", { roomId, limit })
        assert.isAtMost(bytes(page), pageBytes + rest)
        assert.isTrue(page.more)
        assert.deepEqual(
          page.messages.map(({ messageId }) => messageId),
          sent.slice(-5)
        )
      }
      const few = await ann.call("messages.list", { roomId, limit: 2 })
      assert.deepEqual([few.messages.map(({ messageId }) => messageId), few.more], [sent.slice(-2), true])
      const found: Array<string> = []
      for (let before: string | undefined, more = true; more; ) {
        const page = await ann.call("messages.list", { roomId, limit: 100, ...(before && { before }) })
        assert.isAtMost(bytes(page), pageBytes + rest)
        found.unshift(...page.messages.map(({ messageId }) => messageId))
        before = found[0]
        more = page.more
      }
      assert.deepEqual(found, sent)
      const state = await ann.call("rooms.join", { roomId })
      assert.isAtMost(bytes(state), pageBytes + rest)
      assert.deepEqual([state.messages.length, state.more], [5, true])
    })

    it("lists come in parts, by bytes or by number", async () => {
      const note = "\u0001".repeat(2000)
      for (let n = 0; n < 50; n++) await ann.call("contacts.add", { user: `u${n}`, note })
      const first = await ann.call("contacts.list", {})
      assert.isAtMost(bytes(first), pageBytes + rest)
      assert.isTrue(first.more)
      const users = new Set(first.contacts.map(({ user }) => user))
      let read = first.contacts.length
      for (let cursor = first.next; cursor !== null; ) {
        const part = await ann.call("contacts.list", { cursor })
        assert.isAtMost(bytes(part), pageBytes + rest)
        read += part.contacts.length
        for (const { user } of part.contacts) users.add(user)
        cursor = part.next
      }
      assert.deepEqual([read, users.size], [50, 50])
      assert.strictEqual(await ann.fails("contacts.list", { cursor: "x" }), "InvalidParams")

      const roomId = await makeRoom()
      const made: Array<string> = []
      for (let n = 0; n < 9; n++) {
        made.push((await ann.call("threads.create", { roomId, title: `thread ${n}` })).threadId)
      }
      const whole = await ann.call("threads.list", { roomId })
      assert.deepEqual([whole.threads.length, whole.more, whole.next], [9, false, null])
      const threads: Array<string> = []
      const rooms: Array<string> = []
      for (let cursor: string | null | undefined; cursor !== null; ) {
        const part = await ann.call("threads.list", { roomId, limit: 4, ...(cursor && { cursor }) })
        threads.push(...part.threads.map(({ threadId }) => threadId))
        cursor = part.next
      }
      assert.sameMembers(threads, made)
      assert.strictEqual(threads.length, 9)
      const all = (await ann.call("rooms.list", {})).rooms.map((room) => room.roomId)
      for (let cursor: string | null | undefined; cursor !== null; ) {
        const part = await ann.call("rooms.list", { limit: 1, ...(cursor && { cursor }) })
        rooms.push(...part.rooms.map((room) => room.roomId))
        cursor = part.next
      }
      assert.deepEqual(rooms, all)
      await ann.call("rooms.join", { roomId })
      const people = await ann.call("rooms.participants", { roomId, limit: 1 })
      assert.deepEqual([people.participants.map(({ user }) => user), people.more], [["ann"], false])
      const present = await ann.call("presence.list", { roomId })
      assert.deepEqual([present.present.map(({ user }) => user), present.more, present.next], [["ann"], false, null])
    })

    it("whoever missed more than an answer holds gets the state, whoever missed less the events", async () => {
      const roomId = await makeRoom()
      const bob = await pair.client("ann")
      const { cursor } = await bob.call("rooms.join", { roomId })
      await bob.close()
      const resumed = async () => {
        const one = await pair.client("ann")
        const answer = await one.call("rooms.resume", { roomId, cursor })
        await one.close()
        return answer
      }
      const edit = async (from: number, count: number) => {
        for (let n = from; n < from + count; n++) {
          await ann.call("document.update", { roomId, baseVersion: n, text: `${n}${"x".repeat(60_000)}` })
        }
      }
      await edit(0, 5)
      const some = await resumed()
      assert.isTrue(some.recovered)
      await edit(5, 10)
      const many = await resumed()
      assert.isFalse(many.recovered)
      assert.strictEqual(many.document?.version, 15)
      assert.isAtMost(bytes(many), pageBytes)
    })
  },
  { alone: true }
)
