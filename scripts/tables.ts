// Writes README's tables of settings, methods, notifications and errors from the code; with --check, says whether they
// are up to date.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { ErrorCodes } from "../src/protocol/ErrorCodes.ts"
import { openRpcDocument } from "../src/protocol/OpenRpc.ts"
import { settings } from "../src/settings/SettingList.ts"

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n")

const params = (list: ReadonlyArray<{ readonly name: string; readonly required: boolean }>) =>
  list.length === 0 ? "" : `\`{${list.map(({ name, required }) => (required ? name : `${name}?`)).join(", ")}}\``

interface ResultSchema {
  readonly $ref?: string
  readonly properties?: object
  readonly required?: ReadonlyArray<string>
}

const result = (schema: ResultSchema) =>
  schema.properties === undefined
    ? (schema.$ref?.replace(/.*\/(.*)/, "`$1`") ?? "")
    : params(
        Object.keys(schema.properties).map((name) => ({ name, required: schema.required?.includes(name) ?? false }))
      )

const tables: Readonly<Record<string, string>> = {
  settings: table(
    ["name", "default", "meaning"],
    Object.entries(settings).map(([name, { fallback, meaning, shown }]) => [
      `\`${name}\``,
      shown ?? (fallback === undefined || fallback === "" ? "unset" : `\`${fallback}\``),
      meaning
    ])
  ),
  methods: table(
    ["method", "params", "result", "what it does"],
    openRpcDocument.methods.map((method) => [
      `\`${method.name}\``,
      params(method.params),
      result(method.result.schema),
      method.summary
    ])
  ),
  notifications: table(
    ["notification", "params", "when"],
    openRpcDocument["x-notifications"].map((notification) => [
      `\`${notification.name}\``,
      params(notification.params),
      notification.summary
    ])
  ),
  errors: table(
    ["code", "type", "retryable", "meaning"],
    Object.entries(ErrorCodes).map(([type, { code, meaning, retryable }]) => [
      String(code),
      `\`${type}\``,
      retryable ? "yes" : "no",
      meaning
    ])
  )
}

const file = join(import.meta.dirname, "../README.md")
const before = readFileSync(file, "utf8")
const after = Object.entries(tables).reduce(
  (text, [name, content]) =>
    text.replace(
      new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`),
      (_all, start: string, end: string) => `${start}${content}\n${end}`
    ),
  before
)
if (process.argv.includes("--check")) {
  if (before !== after) console.error("README's tables are not what the code says: run `npm run format`")
  process.exit(before === after ? 0 : 1)
}
if (before !== after) writeFileSync(file, after)
