// Makes dist/server: the service as one file, with those that it loads late beside it. `npm start` and the package's
// command run that: a quarter of the time to the first connection, and 80 MB less, than as 880 modules.
//
// It is made by `npm ci`, and again before a start that finds other sources than it was made of. Without the bundler
// (an install without development dependencies) there is none, and src/main.ts runs as it is.
//
// JavaScript, as start.mjs is: what strips types takes 30 MB of the process for as long as it runs.
import { createHash, randomUUID } from "node:crypto"
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const folder = join(root, "dist/server")
/** @param {string} made */
const stampOf = (made) => join(made, "sources")

/** Changes with any source: by names, sizes and times, as reading them all would take as long as it saves. */
const sources = () => {
  const hash = createHash("sha256")
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((file) =>
    /\.ts$/.test(file)
  )
  for (const file of ["../package-lock.json", ...files.sort()]) {
    const found = statSync(join(root, "src", file), { throwIfNoEntry: false })
    hash.update(`${file} ${found?.size} ${found?.mtimeMs}\n`)
  }
  return hash.digest("hex")
}

/** @param {string} wanted */
const isMadeOf = (wanted) => existsSync(stampOf(folder)) && readFileSync(stampOf(folder), "utf8") === wanted

/**
 * Writes main.js and what it loads late. The embedded database reads files beside its modules: it stays a package.
 *
 * @param {string} into
 */
export const bundle = async (into) => {
  const { rolldown } = await import("rolldown")
  const build = await rolldown({
    input: join(root, "src/main.ts"),
    platform: "node",
    external: [/^@electric-sql\//],
    logLevel: "silent"
  })
  await build.write({
    dir: into,
    format: "esm",
    entryFileNames: "main.js",
    chunkFileNames: "[name]-[hash].js",
    // Names stay, for stack traces.
    minify: { compress: false, mangle: false, codegen: true }
  })
  await build.close()
}

/** The file to start: dist/server/main.js, made now if the sources are others; src/main.ts if it can't be made. */
export const entry = async () => {
  const wanted = sources()
  if (!isMadeOf(wanted)) {
    // Several may begin at once: each makes its own, and the last one stays.
    const made = `${folder}-${randomUUID()}`
    try {
      await bundle(made)
      writeFileSync(stampOf(made), wanted)
      rmSync(folder, { recursive: true, force: true })
      renameSync(made, folder)
    } catch (error) {
      rmSync(made, { recursive: true, force: true })
      const isMissing = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND"
      if (!isMissing) process.stderr.write(`dist/server was not made, and src/main.ts runs as it is: ${error}\n`)
    }
  }
  return isMadeOf(wanted) ? join(folder, "main.js") : join(root, "src/main.ts")
}

if (import.meta.main) await entry()
