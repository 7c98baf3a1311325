// Checks the words of src/: the field's own are used, in names, comments and texts, and comment lines fit the page (the
// formatter leaves comments alone). `node scripts/words.ts [FOLDER]` lists what is left there.
//
// Columns of Postgres and fields in Redis keep the names they were made with, because an instance of an earlier release may
// run beside this one: so what stands in templates (SQL, Lua) is not checked.
import { readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "../src")
const maxColumns = 120

/** Parts of names that have a better word, and that word. */
const names: Readonly<Record<string, string>> = {
  announce: "publish",
  announced: "published",
  attendance: "presence",
  bury: "deadLetter",
  doubtful: "unverified",
  edition: "version",
  headcount: "connectionCount",
  hear: "receive",
  heard: "received",
  hears: "receives",
  held: "leased, pending, buffered",
  losses: "lossReport",
  past: "bypass",
  relief: "pressure",
  revision: "changeNumber",
  rise: "unsubscribe",
  seat: "subscription",
  seated: "subscribed",
  seats: "subscriptions",
  sit: "subscribe",
  tell: "publish, deliver, notify",
  tells: "publishes",
  told: "published, delivered",
  turns: "mutex",
  untold: "unpublished",
  whereabouts: "index"
}
/** Whole names that say too little. */
const wholeNames: Readonly<Record<string, string>> = {
  by: "actor",
  giveUp: "release",
  kept: "retention",
  look: "probe",
  way: "route"
}
/** Words of comments and texts. */
const prose =
  /\b(told|tells?|telling|untold|heard|whoever|whomever|whom|somebody|nobody|whereabouts|attendance|headcount|bur(y|ied)|seat(s|ed)?|doubtful|revisions?|editions?|(is|are) none)\b/i

interface Token {
  readonly kind: "code" | "comment" | "text" | "template"
  readonly text: string
  readonly line: number
}

// One expression for what is no code. A template's substitutions are read as part of it.
const token = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\[\s\S])*`/g

const tokens = (source: string) => {
  const found: Array<Token> = []
  let at = 0
  let line = 1
  const add = (kind: Token["kind"], text: string) => {
    found.push({ kind, text, line })
    line += text.split("\n").length - 1
  }
  for (const match of source.matchAll(token)) {
    add("code", source.slice(at, match.index))
    const [text] = match
    add(text.startsWith("/") ? "comment" : text.startsWith('"') ? "text" : "template", text)
    at = match.index + text.length
  }
  add("code", source.slice(at))
  return found
}

const parts = (name: string) => (name.match(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g) ?? []).map((part) => part.toLowerCase())

const own = (words: Readonly<Record<string, string>>, name: string) =>
  Object.hasOwn(words, name) ? words[name] : undefined
const wordFor = (name: string) =>
  own(wholeNames, name) ??
  parts(name)
    .map((part) => own(names, part))
    .find((word) => word !== undefined)

const problems: Array<string> = []
const [, , folder = ""] = process.argv
const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
  (file) => file.endsWith(".ts") && file.startsWith(folder)
)
for (const file of files) {
  for (const { kind, line, text } of tokens(readFileSync(join(root, file), "utf8"))) {
    text.split("\n").forEach((row, index) => {
      const place = `${file}:${line + index}`
      if (kind === "comment" && row.length > maxColumns) problems.push(`${place}: over ${maxColumns} columns`)
      const word = kind === "comment" || kind === "text" ? prose.exec(row) : null
      if (word !== null) problems.push(`${place}: "${word[0]}" in ${kind === "comment" ? "a comment" : "a text"}`)
      if (kind !== "code") return
      for (const [name] of row.matchAll(/[A-Za-z_$][\w$]*/g)) {
        const better = wordFor(name)
        if (better !== undefined) problems.push(`${place}: ${name} (${better})`)
      }
    })
  }
}
for (const problem of problems) console.error(problem)
console.log(`${files.length} files, ${problems.length} words to replace`)
process.exit(problems.length === 0 ? 0 : 1)
