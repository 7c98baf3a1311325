// A client that takes the reply to its write as the acknowledgement: no event of a later change comes before it, with Redis
// and without, whoever else writes at the same time.
import { afterAll, assert, beforeAll, it } from "vitest"
import type { Client } from "../support/Client.ts"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomPair } from "../support/RoomPair.ts"

interface Frame {
  readonly id?: number
  readonly result?: { readonly version?: number; readonly messageId?: string }
  readonly method?: string
  readonly params?: {
    readonly seq?: number
    readonly event?: {
      readonly type: string
      readonly version?: number
      readonly message?: { readonly messageId: string; readonly body: string }
    }
  }
}

const framesOf = (client: Client) => client.messages as ReadonlyArray<Frame>

/** Events of later versions of the document that stand before the reply to an earlier update. */
const overtakenUpdates = (client: Client) => {
  const early: Array<string> = []
  let highest = 0
  for (const { id, params, result } of framesOf(client)) {
    const version = params?.event?.type === "document.updated" ? (params.event?.version ?? 0) : 0
    highest = Math.max(highest, version)
    if (id !== undefined && result?.version !== undefined && highest > result.version)
      early.push(`${highest} before the reply of ${result.version}`)
  }
  return early
}

/** Replies that came after the event of the very message, or of a later one. */
const overtakenMessages = (client: Client) => {
  const seqOf = new Map<string, number>()
  for (const { params } of framesOf(client)) {
    const id = params?.event?.message?.messageId
    if (params !== undefined && id !== undefined && !seqOf.has(id)) seqOf.set(id, params.seq ?? 0)
  }
  let highest = 0
  const early: Array<string> = []
  for (const { id, params, result } of framesOf(client)) {
    highest = Math.max(highest, params?.seq ?? 0)
    const own = seqOf.get(result?.messageId ?? "")
    if (id !== undefined && own !== undefined && highest > own) early.push(`${highest} before the reply of ${own}`)
  }
  return early
}

const withWrites = (writes: string, alone: boolean) => {
  overPairs(
    `replies and events, ${writes}`,
    (start) => {
      let pair: RoomPair
      beforeAll(async () => {
        pair = await start({ ROOM_WRITES: writes }, { lateAnswers: true })
      })
      afterAll(() => pair?.stop())

      const roomOf = async (clients: ReadonlyArray<Client>) => {
        const [owner, ...others] = clients
        const roomId = (await owner?.request("rooms.create", { title: "a room" }))?.result?.["roomId"]
        await owner?.request("rooms.join", { roomId })
        for (const other of others) {
          const token = (await owner?.request("rooms.invite", { roomId, role: "member" }))?.result?.["token"]
          assert.isDefined((await other.request("rooms.join", { roomId, invite: token })).result)
        }
        return roomId
      }

      const people = () => Promise.all(["ann", "bob", "cid", "dan"].map((user) => pair.plainClient(user)))

      it("acknowledges an update before later versions are told", async () => {
        const clients = await people()
        const roomId = await roomOf(clients)
        // Each takes the version that it was answered, or that stood against it, and goes on from there.
        const edit = async (client: Client, times: number) => {
          let baseVersion = 0
          for (let n = 0; n < times; n++) {
            const { error, result } = await client.request("document.update", {
              roomId,
              baseVersion,
              text: "x".repeat(n)
            })
            baseVersion = Number(result?.["version"] ?? error?.data["version"] ?? baseVersion)
          }
        }
        await Promise.all(clients.map((client) => edit(client, 150)))
        for (const client of clients) {
          assert.deepEqual(overtakenUpdates(client), [])
          client.close()
        }
      })

      it("acknowledges messages and their edits before later events are told", async () => {
        const clients = await people()
        const roomId = await roomOf(clients)
        const chat = async (client: Client) => {
          for (let n = 0; n < 10; n++) {
            const sent = Array.from({ length: 5 }, (_, m) =>
              client.request("messages.send", { roomId, body: `${n}.${m}` })
            )
            for (const reply of await Promise.all(sent)) assert.isDefined(reply.result)
          }
        }
        await Promise.all(clients.map(chat))
        for (const client of clients) {
          assert.deepEqual(overtakenMessages(client), [])
          client.close()
        }
      })
    },
    { alone }
  )
}
withWrites("redis", true)
withWrites("postgres", false)
