// As much of curl as the READMEs use, for machines without it: -X, -H, -d and one URL. Exits with 22 where the server answers with
// an error, as curl --fail does.
import { parseArgs } from "node:util"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    data: { type: "string", short: "d" },
    header: { type: "string", short: "H", multiple: true },
    request: { type: "string", short: "X" }
  }
})
const { data, header = [], request = data === undefined ? "GET" : "POST" } = values
const headers = header.map((line): [string, string] => {
  const [name = "", ...value] = line.split(":")
  return [name, value.join(":").trim()]
})
const response = await fetch(positionals[0] ?? "", {
  method: request,
  headers,
  ...(data !== undefined && { body: data })
})
process.stdout.write(await response.text())
process.exitCode = response.ok ? 0 : 22
