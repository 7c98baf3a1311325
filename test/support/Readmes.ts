// The project's READMEs, taken apart: fenced blocks, headings, links and the names in inline code.
import { readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"

export const root = join(import.meta.dirname, "../..")

export interface Block {
  /** Path of the README from the project's folder. */
  readonly file: string
  /** Line of the block's opening fence. */
  readonly line: number
  /** The tag behind the opening fence; empty: none. */
  readonly language: string
  readonly text: string
}

export interface Link {
  readonly line: number
  readonly target: string
}

export interface Readme {
  readonly file: string
  readonly lines: number
  readonly blocks: ReadonlyArray<Block>
  /** Lines outside of blocks that are indented like code: such code has no tag. */
  readonly indented: ReadonlyArray<number>
  /** The anchors of its headings, as GitHub makes them. */
  readonly anchors: ReadonlySet<string>
  readonly links: ReadonlyArray<Link>
  /** Texts of inline code. */
  readonly code: ReadonlyArray<{ readonly line: number; readonly text: string }>
}

const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-")

export const parseReadme = (file: string, text: string): Readme => {
  const blocks: Array<Block> = []
  const indented: Array<number> = []
  const anchors = new Set<string>()
  const links: Array<Link> = []
  const code: Array<{ line: number; text: string }> = []
  const rows = text.replace(/\n$/, "").split("\n")
  let open: { line: number; language: string; rows: Array<string> } | undefined
  let isList = false
  rows.forEach((row, index) => {
    const line = index + 1
    if (row.startsWith("```")) {
      if (open === undefined) open = { line, language: row.slice(3).trim(), rows: [] }
      else {
        blocks.push({ file, line: open.line, language: open.language, text: `${open.rows.join("\n")}\n` })
        open = undefined
      }
      return
    }
    if (open !== undefined) {
      open.rows.push(row)
      return
    }
    if (/^( {4}|\t)/.test(row) && !isList) indented.push(line)
    isList = /^\s*([-*]|\d+\.) /.test(row) || (isList && row.startsWith(" "))
    const heading = /^#+ (.+)$/.exec(row)?.[1]
    if (heading !== undefined) anchors.add(anchorOf(heading))
    for (const [, inline = ""] of row.matchAll(/`([^`]+)`/g)) code.push({ line, text: inline })
    for (const [, target = ""] of row.replace(/`[^`]*`/g, "code").matchAll(/\]\(([^)\s]+)\)/g)) {
      links.push({ line, target })
    }
  })
  if (open !== undefined) blocks.push({ file, line: open.line, language: "not closed", text: "" })
  return { file, lines: rows.length, blocks, indented, anchors, links, code }
}

const folders = ["src", "scripts", "test"]

/** All READMEs of the project, the first one first. */
export const readReadmes = (): ReadonlyArray<Readme> => {
  const found = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name === "README.md" || name.endsWith("/README.md"))
      .map((name) => relative(root, join(root, folder, name)))
  )
  return ["README.md", ...found.sort()].map((file) => parseReadme(file, readFileSync(join(root, file), "utf8")))
}

/** What is run or compiled, and what is no code. */
export const tags = ["sh", "ts", "js", "json", "sql", "text", "mermaid"] as const

/** Blocks that no test can look at. */
export const untagged = ({ blocks, file, indented }: Readme): ReadonlyArray<string> => [
  ...blocks
    .filter(({ language }) => !tags.some((tag) => tag === language))
    .map(({ language, line }) => `${file}:${line}: the block's tag is ${JSON.stringify(language)}`),
  ...indented.map((line) => `${file}:${line}: indented code has no tag`)
]

/** Whether two JSON values have the same fields, of the same kinds; the first item of a list stands for all. */
export const sameShape = (shown: unknown, real: unknown): boolean => {
  if (Array.isArray(shown) || Array.isArray(real)) {
    if (!Array.isArray(shown) || !Array.isArray(real)) return false
    return shown.length === 0 || real.length === 0 || sameShape(shown[0], real[0])
  }
  if (typeof shown !== "object" || typeof real !== "object" || shown === null || real === null) {
    return typeof shown === typeof real && (shown === null) === (real === null)
  }
  const [shownKeys, realKeys] = [Object.keys(shown).sort(), Object.keys(real).sort()]
  return (
    shownKeys.join("\n") === realKeys.join("\n") &&
    shownKeys.every((key) => sameShape(Reflect.get(shown, key), Reflect.get(real, key)))
  )
}
