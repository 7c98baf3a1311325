// Clients that send as fast as their sockets take it, as a separate process: opens connections, each as a user of its own, then reads
// commands from stdin. "KIND SECONDS" sends frames of that kind for so long and prints how many were sent, and how often it was closed.
// A connection that the server closes for it is opened again.
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"
import { WebSocket } from "ws"

const { URL: url = "", CONNECTIONS = "1" } = process.env
const count = Number(CONNECTIONS)
/** Sent and not taken by the socket, at most: as much as a write may hold. */
const maxBuffered = 1_048_576
/** Frames that one write holds. */
const together = 50

let roomId = ""
let [sent, closes, id] = [0, 0, 0]
const request = (method: string, params: object, isAsked = true) =>
  JSON.stringify({ jsonrpc: "2.0", ...(isAsked && { id: ++id }), method, params })
const call = (isAsked = true) => request("call", { integration: "bench", input: { city: "London" } }, isAsked)

const kinds: Readonly<Record<string, () => string>> = {
  calls: call,
  batches: () => `[${Array.from({ length: 20 }, () => call()).join(",")}]`,
  "invalid frames": () => '{"jsonrpc":"2.0","id":1,"method":',
  notifications: () => call(false),
  lists: () => request("rooms.list", {}),
  "big pages": () => request("messages.list", { roomId, limit: 100 })
}

const open = (user: string) =>
  new Promise<WebSocket>((resolve, reject) => {
    const socket = new WebSocket(`${url}?user=${user}`, { perMessageDeflate: false, skipUTF8Validation: true })
    socket.once("open", () => resolve(socket))
    socket.once("error", reject)
  })

const flood = async (name: string, user: string, until: number): Promise<void> => {
  const make = kinds[name]
  if (make === undefined) throw new Error(`no flood is named ${name}`)
  while (performance.now() < until) {
    // Too many at once, or a limit of the address: a moment later.
    const socket = await open(user).catch(() => undefined)
    if (socket === undefined) {
      await setTimeout(50)
      continue
    }
    socket.on("error", () => {})
    while (performance.now() < until && socket.readyState === WebSocket.OPEN) {
      for (let n = 0; n < together && socket.bufferedAmount < maxBuffered; n++) {
        socket.send(make())
        sent++
      }
      // Immediately would keep this process from reading.
      await setTimeout(1)
    }
    if (socket.readyState !== WebSocket.OPEN) closes++
    socket.terminate()
  }
}

/** A room with 100 messages of 2 kB, made within the limits of a client. */
const makeRoom = async (): Promise<void> => {
  const socket = await open("flood0")
  const ask = (method: string, params: object) =>
    new Promise<{ readonly roomId: string }>((resolve, reject) => {
      const own = id + 1
      const receive = (data: Buffer) => {
        const reply = JSON.parse(data.toString())
        if (reply.id !== own) return
        socket.off("message", receive)
        if (reply.error === undefined) resolve(reply.result)
        else reject(new Error(reply.error.message))
      }
      socket.on("message", receive)
      socket.send(request(method, params))
    })
  roomId = (await ask("rooms.create", { title: "big" })).roomId
  for (let n = 0; n < 100; n++) {
    await ask("messages.send", { roomId, body: "x".repeat(2000) })
    await setTimeout(25)
  }
  socket.close()
}

await makeRoom()
console.log(JSON.stringify({ kinds: Object.keys(kinds) }))

for await (const line of createInterface({ input: process.stdin })) {
  const [, name = "", seconds = "1"] = /^(.+) (\d+)$/.exec(line) ?? []
  ;[sent, closes] = [0, 0]
  const until = performance.now() + Number(seconds) * 1000
  await Promise.all(
    // Pages are read by the one member of the room.
    Array.from({ length: count }, (_, n) => flood(name, name === "big pages" ? "flood0" : `flood${n}`, until))
  )
  console.log(JSON.stringify({ sent, closes }))
}
process.exit(0)
