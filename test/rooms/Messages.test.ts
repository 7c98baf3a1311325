// Messages and threads on two instances: sent once, edited, deleted, reacted to, sorted, and read page by page.
import { afterAll, assert, beforeAll, beforeEach, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import { allHeardTheSame, type RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { laterMillisecond } from "../support/Until.ts"

overPairs("messages", (start) => {
  let pair: RoomPair
  let ann: RoomClient
  let bob: RoomClient
  let roomId: string
  beforeAll(async () => {
    pair = await start()
  })
  afterAll(() => pair?.stop())
  beforeEach(async () => {
    ann = await pair.client("ann", 0)
    bob = await pair.client("bob", 1)
    roomId = await pair.room(ann, { bob: "member" })
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
  })

  const counted = (one: RoomClient, type: string) => one.types(roomId).filter((each) => each === type).length
  /** Both hear of a message that ends what was before. */
  const settled = async () => {
    const { messageId } = await ann.call("messages.send", { roomId, body: "settled" })
    for (const one of [ann, bob]) {
      await one.hears(roomId, (e) => e.type === "message.sent" && e.message.messageId === messageId, "the last one")
    }
    await allHeardTheSame([ann, bob], roomId)
  }

  it("are sent once, however often their key comes, from whichever instance", async () => {
    const again = await pair.client("ann", 1)
    const sent = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        (n % 2 === 0 ? ann : again).call("messages.send", { roomId, body: `try ${n}`, key: "k" })
      )
    )
    const [first] = sent
    assert.isDefined(first)
    assert.match(first.messageId, /^[0-9a-f-]{36}$/)
    assert.strictEqual(new Set(sent.map((one) => JSON.stringify(one))).size, 1)
    // Another author's key is another's, and another room's is too.
    assert.notEqual((await bob.call("messages.send", { roomId, body: "bob", key: "k" })).messageId, first.messageId)
    const other = await pair.room(ann)
    assert.notEqual(
      (await ann.call("messages.send", { roomId: other, body: "x", key: "k" })).messageId,
      first.messageId
    )
    // It answers what has become of it.
    await ann.call("messages.edit", { messageId: first.messageId, body: "later" })
    assert.strictEqual((await again.call("messages.send", { roomId, body: "?", key: "k" })).body, "later")
    await ann.call("messages.delete", { messageId: first.messageId })
    assert.isString((await again.call("messages.send", { roomId, body: "?", key: "k" })).deletedAt)
    await settled()
    assert.strictEqual(counted(bob, "message.sent"), 3)
    assert.strictEqual((await bob.call("messages.list", { roomId })).messages.length, 3)
  })

  it("are edited, reacted to and deleted, and everybody has the same of them", async () => {
    const sent = await ann.call("messages.send", { roomId, body: "é\n🚀 \\u0000 %" })
    const { messageId } = sent
    assert.deepInclude(sent, {
      author: "ann",
      kind: "chat",
      threadId: null,
      editedAt: null,
      deletedAt: null,
      reactions: {}
    })
    const edited = await ann.call("messages.edit", { messageId, body: "b" })
    assert.deepEqual(edited, { ...sent, body: "b", editedAt: edited.editedAt })
    assert.isString(edited.editedAt)
    // To the same: nothing happens.
    assert.deepEqual(await ann.call("messages.edit", { messageId, body: "b" }), edited)

    const reactions = async (one: RoomClient, emoji: string, adds = true) =>
      (await one.call(adds ? "messages.react" : "messages.unreact", { messageId, emoji })).reactions
    assert.deepEqual(await reactions(bob, "👍"), { "👍": ["bob"] })
    assert.deepEqual(await reactions(bob, "👍"), { "👍": ["bob"] })
    assert.deepEqual(await reactions(ann, "👍"), { "👍": ["bob", "ann"] })
    assert.deepEqual(await reactions(ann, "__proto__"), { "👍": ["bob", "ann"], ["__proto__"]: ["ann"] })
    assert.deepEqual(await reactions(ann, "__proto__", false), { "👍": ["bob", "ann"] })
    assert.deepEqual(await reactions(ann, "toString", false), { "👍": ["bob", "ann"] })
    assert.deepEqual(await reactions(bob, "👍", false), { "👍": ["ann"] })
    assert.strictEqual(await bob.fails("messages.react", { messageId, emoji: "a b" }), "InvalidParams")
    const [present] = (await bob.call("messages.list", { roomId })).messages
    assert.deepEqual(present, { ...edited, reactions: { "👍": ["ann"] } })

    assert.deepEqual(await ann.call("messages.delete", { messageId }), {})
    assert.deepEqual(await ann.call("messages.delete", { messageId }), {})
    const [gone] = (await bob.call("messages.list", { roomId })).messages
    assert.isString(gone?.deletedAt)
    assert.deepEqual(gone, { ...edited, body: "", deletedAt: gone?.deletedAt ?? "", reactions: {} })
    for (const method of ["messages.react", "messages.unreact"] as const) {
      assert.strictEqual(await bob.fails(method, { messageId, emoji: "x" }), "MessageNotFound")
    }
    assert.strictEqual(await ann.fails("messages.edit", { messageId, body: "c" }), "MessageNotFound")
    await settled()
    assert.deepEqual(
      bob.types(roomId).filter((type) => type.startsWith("message.")),
      ["sent", "edited", ...Array(5).fill("reacted"), "deleted", "sent"].map((type) => `message.${type}`)
    )
  })

  it("keep every reaction of many at once, over both instances", async () => {
    const { messageId } = await ann.call("messages.send", { roomId, body: "x" })
    const emojis = Array.from({ length: 20 }, (_, n) => `e${n}`)
    await Promise.all(
      emojis.flatMap((emoji) => [ann, bob].map((one) => one.call("messages.react", { messageId, emoji })))
    )
    const [message] = (await bob.call("messages.list", { roomId, limit: 1 })).messages
    assert.sameMembers(Object.keys(message?.reactions ?? {}), emojis)
    for (const users of Object.values(message?.reactions ?? {})) assert.sameMembers([...users], ["ann", "bob"])
    await settled()
  })

  it("come page by page, as a whole and by thread", async () => {
    const { threadId } = await ann.call("threads.create", { roomId, title: "odd" })
    const ids: Array<string> = []
    for (let n = 0; n < 23; n++) {
      const one = n % 3 === 0 ? ann : bob
      const { messageId } = await one.call("messages.send", {
        roomId,
        body: `${n}`,
        threadId: n % 2 === 1 ? threadId : null
      })
      ids.push(messageId)
    }
    const walk = async (one: RoomClient, limit: number, thread?: string) => {
      const found: Array<string> = []
      const sizes: Array<number> = []
      for (let more = true, before: string | undefined; more; ) {
        const page = await one.call("messages.list", {
          roomId,
          limit,
          ...(thread !== undefined && { threadId: thread }),
          ...(before !== undefined && { before })
        })
        found.unshift(...page.messages.map(({ body }) => body))
        sizes.push(page.messages.length)
        more = page.more
        before = page.messages[0]?.messageId
      }
      return { found, sizes }
    }
    const all = ids.map((_, n) => `${n}`)
    const odd = all.filter((_, n) => n % 2 === 1)
    assert.deepEqual(await walk(bob, 7), { found: all, sizes: [7, 7, 7, 2] })
    assert.deepEqual(await walk(ann, 23), { found: all, sizes: [23] })
    assert.deepEqual((await walk(ann, 1)).found, all)
    assert.deepEqual(await walk(ann, 4, threadId), { found: odd, sizes: [4, 4, 3] })
    // Before a message that is not in the thread: what is older of it.
    const before = ids[4] ?? ""
    const page = await bob.call("messages.list", { roomId, threadId, before })
    assert.deepEqual([page.messages.map(({ body }) => body), page.more], [["1", "3"], false])
    assert.deepEqual(await bob.call("messages.list", { roomId, before: ids[0] ?? "" }), { messages: [], more: false })
    const foreign = await ann.call("messages.send", { roomId: await pair.room(ann), body: "x" })
    for (const wrong of ["nope", foreign.messageId, threadId]) {
      assert.strictEqual(await bob.fails("messages.list", { roomId, before: wrong }), "MessageNotFound")
    }
    for (const wrong of ["nope", ids[0] ?? ""]) {
      assert.deepEqual(await bob.call("messages.list", { roomId, threadId: wrong }), { messages: [], more: false })
    }
    for (const limit of [0, 101, 1.5])
      assert.strictEqual(await bob.fails("messages.list", { roomId, limit }), "InvalidParams")
  })

  it("are refused for what they lack, and leave no hole in the numbers", async () => {
    const foreign = await ann.call("threads.create", { roomId: await pair.room(ann), title: "elsewhere" })
    for (const threadId of ["nope", foreign.threadId, roomId]) {
      // The body names what Postgres calls the key's index: it must not be taken for that.
      const body = "messages_once messages_room_id_thread_id_fkey"
      assert.strictEqual(await bob.fails("messages.send", { roomId, body, threadId }), "ThreadNotFound")
    }
    assert.strictEqual(await bob.fails("messages.send", { roomId, body: "" }), "InvalidParams")
    assert.strictEqual(await bob.fails("messages.send", { roomId, body: "x".repeat(16_385) }), "InvalidParams")
    for (const messageId of ["nope", roomId]) {
      assert.strictEqual(await bob.fails("messages.edit", { messageId, body: "x" }), "MessageNotFound")
      assert.strictEqual(await bob.fails("messages.delete", { messageId }), "MessageNotFound")
      assert.strictEqual(await bob.fails("messages.react", { messageId, emoji: "x" }), "MessageNotFound")
      assert.strictEqual(await bob.fails("threads.rename", { threadId: messageId, title: "x" }), "ThreadNotFound")
    }
    await settled()
    assert.deepEqual(
      bob.types(roomId).filter((type) => type.startsWith("message.")),
      ["message.sent"]
    )
  })

  it("are sorted into threads, which are renamed, categorized and put away", async () => {
    const one = await ann.call("threads.create", { roomId, title: "one", category: "work" })
    await laterMillisecond()
    const two = await bob.call("threads.create", { roomId, title: "two" })
    assert.deepInclude(one, { roomId, title: "one", category: "work", archived: false })
    assert.isNull(two.category)
    const list = async (archived?: boolean) =>
      (await bob.call("threads.list", { roomId, ...(archived !== undefined && { archived }) })).threads
    assert.deepEqual(await list(), [one, two])
    const { threadId } = one
    const renamed = await bob.call("threads.rename", { threadId, title: "three" })
    assert.deepEqual(renamed, { ...one, title: "three" })
    assert.deepEqual(await ann.call("threads.categorize", { threadId, category: null }), { ...renamed, category: null })
    const away = await bob.call("threads.archive", { threadId })
    assert.deepEqual(await ann.call("threads.archive", { threadId }), away)
    assert.deepEqual([await list(true), await list(false), await list()], [[away], [two], [away, two]])
    // What is away still takes messages.
    assert.strictEqual((await bob.call("messages.send", { roomId, threadId, body: "x" })).threadId, threadId)
    assert.isFalse((await ann.call("threads.unarchive", { threadId })).archived)
    assert.deepEqual(await list(true), [])
    await settled()
    assert.deepEqual(
      bob.told(roomId).flatMap(({ event }) => ("thread" in event ? [[event.type, event.thread.title]] : [])),
      [
        ["thread.created", "one"],
        ["thread.created", "two"],
        ["thread.changed", "three"],
        ["thread.changed", "three"],
        ["thread.changed", "three"],
        ["thread.changed", "three"]
      ]
    )
  })
})
