// Compiles blocks of READMEs with the project's compiler and settings, in a folder of their own that has the project's `src` and
// `node_modules` in it. A block that begins with `// test/x/Y.test.ts` stands in that file, so its imports are those of that place.
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { type Block, root } from "./Readmes.ts"

const exec = promisify(execFile)

export const makeProject = () => {
  const folder = mkdtempSync(join(tmpdir(), "hotpath-readme-"))
  for (const name of ["src", "node_modules", "package.json"]) symlinkSync(join(root, name), join(folder, name))
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
export type Project = ReturnType<typeof makeProject>

/** The file a block stands in, written. JavaScript may wait at its top: it is a module. */
export const place = ({ folder }: Project, { file, language, line, text }: Block): string => {
  const named = /^\/\/ (test\/\S+\.ts)\n/.exec(text)?.[1]
  const path = join(folder, named ?? `blocks/${file.replaceAll("/", "-")}-${line}.${language === "js" ? "mjs" : "ts"}`)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  return path
}

/**
 * What the compiler says about these files; empty: nothing. JavaScript has no types to give its parameters, so that one rule is
 * off for it.
 */
export const compile = async (project: Project, files: ReadonlyArray<string>): Promise<string> => {
  const said: Array<string> = []
  for (const [kind, more] of [
    ["ts", {}],
    ["mjs", { allowJs: true, checkJs: true, noImplicitAny: false }]
  ] as const) {
    const chosen = files.filter((file) => file.endsWith(`.${kind}`))
    if (chosen.length === 0) continue
    const config = join(project.folder, `tsconfig.${kind}.json`)
    writeFileSync(
      config,
      JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions: more, include: [], files: chosen })
    )
    const tsc = join(root, "node_modules/.bin/tsc")
    await exec(tsc, ["--noEmit", "-p", config], { cwd: project.folder }).catch((error) => {
      said.push(String(error.stdout || error))
    })
  }
  return said.join("\n")
}
