// Checks the map of src/: no import cycles, every arrow points right, files of one concept's size.
//
//     main → App → gateway, admin → assistant → calls, rooms → catalog, storage, cluster → infra → protocol → domain
//
// Settings.ts (with its SettingFormats.ts, SettingList.ts, SettingNames.ts) and observability/ are open to all; they import
// only each other (and observability nothing else).
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"

const root = resolve(import.meta.dirname, "../src")
const ranks = [
  ["main.ts"],
  ["App.ts"],
  ["gateway", "admin"],
  ["assistant"],
  ["calls", "rooms"],
  ["catalog", "storage", "cluster"],
  ["infra"],
  ["protocol"],
  ["domain"]
]
const open = ["Settings.ts", "SettingFormats.ts", "SettingList.ts", "SettingNames.ts", "observability"]
const maxLines = 320

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))
const part = (file: string) => file.split("/")[0] ?? file
const rank = (file: string) => ranks.findIndex((names) => names.includes(part(file)))

const problems: Array<string> = []
const imports = new Map<string, ReadonlyArray<string>>()
for (const file of files) {
  const text = readFileSync(join(root, file), "utf8")
  if (text.split("\n").length > maxLines) problems.push(`${file}: over ${maxLines} lines`)
  const targets = [...text.matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)].map((match) =>
    relative(root, resolve(root, dirname(file), match[1] ?? ""))
  )
  imports.set(file, targets)
  if (!open.includes(part(file)) && rank(file) === -1) problems.push(`${file}: its folder is not on the map`)
  for (const target of targets) {
    // package.json
    if (target.startsWith("..")) continue
    if (part(target) === part(file) || open.includes(part(target))) continue
    if (open.includes(part(file)) || rank(target) <= rank(file)) problems.push(`${file} → ${target}: points left`)
  }
}

const done = new Set<string>()
const visit = (file: string, path: ReadonlyArray<string>) => {
  if (path.includes(file)) {
    problems.push(`cycle: ${[...path.slice(path.indexOf(file)), file].join(" → ")}`)
    return
  }
  if (done.has(file)) return
  for (const target of imports.get(file) ?? []) visit(target, [...path, file])
  done.add(file)
}
for (const file of files) visit(file, [])

for (const problem of problems) console.error(problem)
console.log(`${files.length} files, ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)
