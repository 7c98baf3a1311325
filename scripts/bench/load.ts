// The load, as a process of its own: opens connections, says so, calls at a fixed rate when it is told ("run SECONDS
// RATE" on stdin), and prints what it saw. Latency counts from when a call was due, not from when it could be sent.
import { createInterface } from "node:readline"
import { WebSocket } from "ws"

const { URL: url = "", CONNECTIONS = "200" } = process.env
const count = Number(CONNECTIONS)
const sockets: Array<WebSocket> = []
const due = new Map<number, number>()
let latencies: Array<number> = []
let errors = 0
let id = 0

const open = (n: number) =>
  new Promise<void>((resolve, reject) => {
    const socket = new WebSocket(`${url}?user=user${n}`, { perMessageDeflate: false, skipUTF8Validation: true })
    socket.once("open", () => resolve())
    socket.once("error", reject)
    socket.once("close", () => {
      errors++
    })
    sockets.push(socket)
    socket.on("message", (data: Buffer) => {
      const text = data.toString("latin1", 0, 60)
      const start = text.indexOf('"id":')
      if (start === -1) return
      const own = Number.parseInt(text.slice(start + 5), 10)
      const at = due.get(own)
      if (at === undefined) return
      due.delete(own)
      latencies.push(performance.now() - at)
      if (!text.includes('"result"')) errors++
    })
  })

for (let n = 0; n < count; n += 100) {
  await Promise.all(Array.from({ length: Math.min(100, count - n) }, (_, k) => open(n + k)))
}
console.log(JSON.stringify({ opened: count }))

const run = (seconds: number, rate: number) =>
  new Promise<void>((resolve) => {
    latencies = []
    errors = 0
    due.clear()
    const began = performance.now()
    let sent = 0
    const total = seconds * rate
    const tick = setInterval(() => {
      const target = Math.min(total, Math.floor(((performance.now() - began) / 1000) * rate))
      for (; sent < target; sent++) {
        due.set(++id, began + (sent / rate) * 1000)
        sockets[sent % count]?.send(
          `{"jsonrpc":"2.0","id":${id},"method":"call","params":{"integration":"bench","input":{"city":"London"}}}`
        )
      }
      if (sent >= total) {
        clearInterval(tick)
        // What is not answered by then counts as an error.
        setTimeout(() => {
          errors += due.size
          resolve()
        }, 500)
      }
    }, 2)
  })

const percentile = (sorted: ReadonlyArray<number>, p: number) => sorted[Math.floor(sorted.length * p)] ?? Number.NaN

for await (const line of createInterface({ input: process.stdin })) {
  const [, seconds = "1", rate = "1000"] = line.split(" ")
  await run(Number(seconds), Number(rate))
  const sorted = latencies.sort((a, b) => a - b)
  console.log(
    JSON.stringify({ calls: sorted.length, errors, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) })
  )
}
process.exit(0)
