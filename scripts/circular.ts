// Checks the map of src/: no import cycles, every arrow points right, files of one concept's size.
//
//     main → App → gateway, admin → assistant → calls, rooms → catalog, storage, cluster → infra → protocol → domain
//
// Hotpath.ts and testing/ are entries of the package and stand where main does: nothing imports them, they may import the rest.
// Inside a folder the same holds for its rooms, see `inner`. Settings.ts (with settings/) and observability/ are open to all;
// they import only each other (and observability nothing else).
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"

const root = resolve(import.meta.dirname, "../src")
const ranks = [
  ["main.ts", "Hotpath.ts", "testing"],
  ["App.ts"],
  ["gateway", "admin"],
  ["assistant"],
  ["calls", "rooms"],
  ["catalog", "storage", "cluster"],
  ["infra"],
  ["protocol"],
  ["domain"]
]
const open = ["Settings.ts", "settings", "observability"]
// The rooms of a folder, in the order data flows: its folders, single files, and "." for its other files.
const inner: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>> = {
  protocol: [["OpenRpc.ts"], ["methods"], ["."]],
  infra: [["http", "postgres", "redis"], ["."]],
  cluster: [["rooms"], ["stores", "locks", "limits"], ["."]],
  catalog: [["sample"], ["."]],
  calls: [["."], ["fetch"]],
  storage: [["buffer"], ["rooms", "records"], ["."]],
  rooms: [["."], ["delivery"]],
  gateway: [["."], ["http"], ["connection"], ["requests"], ["handlers"]]
}
const maxLines = 300

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))
const part = (file: string) => file.split("/")[0] ?? file
const rank = (file: string) => ranks.findIndex((names) => names.includes(part(file)))
const room = (file: string) => {
  const [folder = "", name = "."] = file.split("/")
  const isRoom = file.split("/").length > 2 || inner[folder]?.some((names) => names.includes(name)) === true
  return isRoom ? name : "."
}
const innerRank = (file: string) => (inner[part(file)] ?? []).findIndex((names) => names.includes(room(file)))

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
  if (inner[part(file)] !== undefined && innerRank(file) === -1) problems.push(`${file}: its room is not on the map`)
  for (const target of targets) {
    // package.json
    if (target.startsWith("..")) continue
    if (part(target) === part(file)) {
      if (inner[part(file)] === undefined) continue
      const isLevel = innerRank(target) === innerRank(file) && room(target) !== room(file)
      if (innerRank(target) < innerRank(file) || isLevel) problems.push(`${file} → ${target}: points left`)
      continue
    }
    if (open.includes(part(target))) continue
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
