// npm run bench -- [NAME] [--quick] [--rounds=N] [--self] [--beside=FOLDER] [--traced]: measures hotpath beside hand-written peers, or
// beside another checkout of hotpath, in one run, and prints ratios. README.md lists the benchmarks and options. Progress goes to
// stderr, the tables to stdout. Everything it starts ends before it does, for whatever reason it ends.

import { buffer, bufferLimit } from "./buffer/buffer.ts"
import { flush } from "./buffer/flush.ts"
import { ack } from "./call/ack.ts"
import { call } from "./call/call.ts"
import { crowd } from "./call/crowd.ts"
import { flood } from "./call/flood.ts"
import { staleness } from "./catalog/staleness.ts"
import { type Options, readOptions } from "./lib/options.ts"
import { Processes } from "./lib/processes.ts"
import { pages } from "./rooms/pages.ts"
import { rooms } from "./rooms/rooms.ts"

const benches: Readonly<Record<string, (processes: Processes, options: Options) => Promise<string>>> = {
  ack,
  buffer,
  call,
  crowd,
  flood,
  flush,
  pages,
  rooms,
  staleness
}

const processes = new Processes()
let ending = false
const end = async (code: number, reason?: unknown) => {
  if (ending) return
  ending = true
  if (reason !== undefined) console.error(reason)
  // As long as a server may take to start, which is when it can be stopped.
  const hard = setTimeout(() => process.exit(code || 1), 25_000)
  await processes.endAll()
  clearTimeout(hard)
  process.exit(code)
}
const signals = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const
for (const [signal, code] of Object.entries(signals)) process.on(signal, () => void end(code))
process.on("uncaughtException", (error) => void end(1, error))
process.on("unhandledRejection", (error) => void end(1, error))

const read = () => {
  const names = Object.keys(benches)
  try {
    return readOptions(names)
  } catch (error) {
    const reason = error instanceof Error ? error.message : error
    console.error(
      `${reason}\nusage: npm run bench -- [${names.join("|")}] [--quick] [--rounds=N] [--self] [--beside=FOLDER] [--traced] [--sessions=N] [--seconds=N] [--rate=N]`
    )
    process.exit(2)
  }
}

const { name, ...options } = read()
const limit = name === "buffer" ? bufferLimit(options) : 300 + options.rounds * 80
setTimeout(() => void end(1, `not done within ${limit} s`), limit * 1000).unref()
try {
  console.log(await benches[name]?.(processes, options))
  await end(0)
} catch (error) {
  await end(1, error)
}
