// npm run bench [-- NAME] [--quick]: measures hotpath beside hand-written peers, in one run, and prints ratios.
import { call } from "./call.ts"

const quick = process.argv.includes("--quick")
const name = process.argv.slice(2).find((argument) => !argument.startsWith("--")) ?? "call"

const benches: Readonly<Record<string, () => Promise<void>>> = {
  call: () => call({ rounds: quick ? 2 : 5, seconds: quick ? 3 : 6, rate: 2000, idle: quick ? 2000 : 10_000 })
}

const bench = benches[name]
if (bench === undefined) {
  console.error(`no benchmark named ${name}; there are: ${Object.keys(benches).join(", ")}`)
  process.exit(1)
}
await bench()
process.exit(0)
