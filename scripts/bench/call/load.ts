// The load, as a separate process: opens connections, reports it, then reads commands from stdin. "run SECONDS RATE" calls at a
// fixed rate and prints the results; "saturate SECONDS" keeps one call under way on every connection; "open" prints the number of
// open connections; "crowd" calls once on every connection at the same moment. Latency counts from the time a call was due, not
// from when it could be sent.
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"
import { WebSocket } from "ws"

const { URL: url = "", CONNECTIONS = "200", ACK } = process.env
const more = ACK === undefined ? "" : `,"ack":"${ACK}"`
const count = Number(CONNECTIONS)
const sockets: Array<WebSocket> = []
const due = new Map<number, number>()
/** Called with each reply's connection. */
let onReply: (socket: WebSocket) => void = () => {}
const errors = new Map<string, number>()
let latencies: Array<number> = []
let id = 0

const fail = (kind: string, times = 1) => {
  if (times > 0) errors.set(kind, (errors.get(kind) ?? 0) + times)
}

const kindOf = (reply: string) => {
  const { error } = JSON.parse(reply) as { error?: { message: string; data?: { type?: string } } }
  return error?.data?.type ?? error?.message ?? "not a reply"
}

const receive = (socket: WebSocket, data: Buffer) => {
  const text = data.toString("latin1", 0, 60)
  const start = text.indexOf('"id":')
  if (start === -1) return
  const own = Number.parseInt(text.slice(start + 5), 10)
  const at = due.get(own)
  if (at === undefined) return
  due.delete(own)
  if (text.includes('"result"')) latencies.push(performance.now() - at)
  else fail(kindOf(data.toString()))
  onReply(socket)
}

const ask = (socket: WebSocket | undefined, at: number) => {
  due.set(++id, at)
  socket?.send(
    `{"jsonrpc":"2.0","id":${id},"method":"call","params":{"integration":"bench","input":{"city":"London"}${more}}}`
  )
}

const reset = () => {
  latencies = []
  errors.clear()
  due.clear()
}

const open = (n: number) =>
  new Promise<void>((resolve, reject) => {
    const socket = new WebSocket(`${url}?user=user${n}`, { perMessageDeflate: false, skipUTF8Validation: true })
    socket.once("open", () => resolve())
    socket.once("error", reject)
    socket.once("close", () => fail("closed"))
    socket.on("message", (data: Buffer) => receive(socket, data))
    sockets.push(socket)
  })

const say = (what: unknown) => console.log(JSON.stringify(what))
const opened = () => sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length

for (let n = 0; n < count; n += 100) {
  await Promise.all(Array.from({ length: Math.min(100, count - n) }, (_, k) => open(n + k)))
}
say({ open: opened() })

/** Calls a second, as all that measure. */
const run = (seconds: number, rate: number) =>
  new Promise<number>((resolve) => {
    reset()
    const began = performance.now()
    const total = seconds * rate
    let sent = 0
    const tick = setInterval(() => {
      const now = performance.now() - began
      const target = Math.min(total, Math.floor((now / 1000) * rate))
      for (; sent < target; sent++) ask(sockets[sent % count], began + (sent / rate) * 1000)
      // Half a second for the writes behind the replies. A call without a reply after two seconds is an error.
      const after = now - seconds * 1000
      if (sent < total || after < 500 || (due.size > 0 && after < 2000)) return
      clearInterval(tick)
      fail("unanswered", due.size)
      resolve(rate)
    }, 1)
  })

const saturate = async (seconds: number) => {
  reset()
  const began = performance.now()
  onReply = (socket) => {
    const now = performance.now()
    if (now < began + seconds * 1000) ask(socket, now)
  }
  for (const socket of sockets) ask(socket, began)
  await setTimeout(seconds * 1000)
  const calls = latencies.length
  // For the replies under way, and the writes behind them.
  await setTimeout(500)
  onReply = () => {}
  fail("unanswered", due.size)
  return calls / seconds
}

const crowd = () =>
  new Promise<{ readonly answered: number; readonly lastMs: number }>((resolve) => {
    reset()
    const began = performance.now()
    for (const socket of sockets) ask(socket, performance.now())
    let left = due.size
    let lastMs = 0
    const tick = setInterval(() => {
      const now = performance.now() - began
      if (due.size < left) lastMs = now
      left = due.size
      if (left > 0 && now < 15_000) return
      clearInterval(tick)
      fail("unanswered", left)
      resolve({ answered: latencies.length, lastMs })
    }, 5)
  })

const percentile = (sorted: ReadonlyArray<number>, p: number) => sorted[Math.floor(sorted.length * p)] ?? Number.NaN

for await (const line of createInterface({ input: process.stdin })) {
  const [command, seconds = "1", rate = "1000"] = line.split(" ")
  if (command === "open") say({ open: opened() })
  else if (command === "crowd") {
    const { answered, lastMs } = await crowd()
    say({ errors: Object.fromEntries(errors), answered, lastMs })
  } else {
    const perSecond = await (command === "saturate" ? saturate(Number(seconds)) : run(Number(seconds), Number(rate)))
    const sorted = latencies.sort((a, b) => a - b)
    say({
      calls: sorted.length,
      perSecond,
      errors: Object.fromEntries(errors),
      p50: percentile(sorted, 0.5),
      p99: percentile(sorted, 0.99)
    })
  }
}
process.exit(0)
