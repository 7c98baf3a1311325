// Writes the generated tables of the READMEs (settings, methods, events, errors, …) from the code. With --check it changes
// nothing and fails if a table is out of date. A table stands between `<!-- NAME -->` and `<!-- /NAME -->`.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CloseCodes } from "../src/protocol/CloseCodes.ts"
import { ErrorCodes } from "../src/protocol/ErrorCodes.ts"
import { openRpcDocument } from "../src/protocol/OpenRpc.ts"
import { settings } from "../src/settings/SettingList.ts"

/** Which README holds which tables. */
const tablesOf: Readonly<Record<string, ReadonlyArray<string>>> = {
  "src/README.md": ["settings"],
  "src/protocol/README.md": ["methods", "notifications", "events", "objects", "errors", "close-codes"]
}

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n")

const params = (list: ReadonlyArray<{ readonly name: string; readonly required: boolean }>) =>
  list.length === 0 ? "" : `\`{${list.map(({ name, required }) => (required ? name : `${name}?`)).join(", ")}}\``

interface ObjectSchema {
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, object>>
  readonly required?: ReadonlyArray<string>
}

const fields = ({ properties = {}, required = [] }: ObjectSchema) =>
  Object.keys(properties).map((name) => ({ name, required: required.includes(name) }))

const result = (schema: ObjectSchema) =>
  schema.properties === undefined ? (schema.$ref?.replace(/.*\/(.*)/, "`$1`") ?? "") : params(fields(schema))

const objects: Readonly<Record<string, ObjectSchema>> = openRpcDocument.components.schemas

/** An event's schema says its type by an enum of one. */
const eventType = ({ properties }: ObjectSchema) => {
  const type: { readonly enum?: ReadonlyArray<string> } | undefined = properties?.["type"]
  return type?.enum?.[0]
}

/** How a client is to take a code: the ranges of protocol/CloseCodes.ts. */
const reconnects = (code: number) => code === 1001 || code === 1013 || (code >= 4000 && code < 4500)
/** Codes that `ws` closes with by itself. */
const closedByWs = [
  { code: 1007, reason: "invalid UTF-8" },
  { code: 1008, reason: "too many fragments" },
  { code: 1009, reason: "frame too big" }
]

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
  events: table(
    ["event type", "its other fields"],
    Object.values(objects).flatMap((schema) => {
      const type = eventType(schema)
      return type === undefined ? [] : [[`\`${type}\``, params(fields(schema).filter(({ name }) => name !== "type"))]]
    })
  ),
  objects: table(
    ["object", "fields"],
    Object.entries(objects)
      .filter(([, schema]) => eventType(schema) === undefined && fields(schema).length > 0)
      .map(([name, schema]) => [`\`${name}\``, params(fields(schema))])
  ),
  errors: table(
    ["code", "type", "retryable", "meaning"],
    Object.entries(ErrorCodes).map(([type, { code, meaning, retryable }]) => [
      String(code),
      `\`${type}\``,
      retryable ? "yes" : "no",
      meaning
    ])
  ),
  "close-codes": table(
    ["code", "reason", "reconnect"],
    [...Object.values(CloseCodes), ...closedByWs]
      .sort((a, b) => a.code - b.code)
      .map(({ code, reason }) => [String(code), reason, reconnects(code) ? "yes" : "no"])
  )
}

const isCheck = process.argv.includes("--check")
const outdated: Array<string> = []
for (const [file, names] of Object.entries(tablesOf)) {
  const path = join(import.meta.dirname, "..", file)
  const before = readFileSync(path, "utf8")
  let after = before
  for (const name of names) {
    const marked = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`)
    if (!marked.test(after)) throw new Error(`${file} has no markers for its table ${name}`)
    after = after.replace(marked, (_all, start: string, end: string) => `${start}${tables[name]}\n${end}`)
  }
  if (before === after) continue
  outdated.push(file)
  if (!isCheck) writeFileSync(path, after)
}
if (isCheck && outdated.length > 0) {
  console.error(`out of date: the tables of ${outdated.join(", ")}; npm run format writes them`)
  process.exit(1)
}
