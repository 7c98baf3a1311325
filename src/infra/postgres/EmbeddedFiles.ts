// The files of the embedded database: private to this user, and made from an image. Running initdb instead takes seconds
// and 1.2 GB. The image comes from PGlite's authors; it has the catalog of this PGlite's PostgreSQL, which a test compares.
import { mkdirSync, writeFileSync } from "node:fs"
import { chmod, mkdir, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import type { MemoryFS } from "@electric-sql/pglite"
import { imageEntries } from "./EmbeddedImage.ts"

/** Makes `folder` from the image: all of it or nothing, whenever the process is killed. */
export const extractImage = async (folder: string): Promise<void> => {
  const unfinished = `${folder}.unfinished`
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { mode: 0o700 })
  for await (const { data, name } of imageEntries()) {
    // A thousand small files: each by way of the thread pool would take longer than its write.
    if (data === undefined) mkdirSync(join(unfinished, name), { recursive: true, mode: 0o700 })
    else writeFileSync(join(unfinished, name), data, { mode: 0o600 })
  }
  await rename(unfinished, folder)
}

/** A file system in memory that holds the image when PGlite looks into it: its own `loadDataDir` makes four copies. */
export const makeMemoryFiles = async (): Promise<MemoryFS> => {
  const { MemoryFS } = await import("@electric-sql/pglite")
  class ImageInMemory extends MemoryFS {
    override async initialSyncFs() {
      const files = this.pg?.Module.FS
      if (files === undefined) return
      for await (const { data, name } of imageEntries()) {
        const file = `/pglite/data/${name}`
        if (data === undefined) files.mkdirTree(file)
        else files.writeFile(file, data, { canOwn: true })
      }
    }
  }
  return new ImageInMemory("memory://")
}

/** Whether other users may look into the folder. A sticky one (/tmp) is shared on purpose. */
const isOpen = async (folder: string) => {
  const { mode } = await stat(folder).catch(() => ({ mode: 0o700 }))
  return (mode & 0o077) !== 0 && (mode & 0o1000) === 0
}

/**
 * Makes the folder, or takes an older one's permissions from other users: what a database holds is its users'. Returns the
 * folders that stay open to others, since this process may not change them.
 */
export const makePrivate = async (dataDir: string): Promise<ReadonlyArray<string>> => {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const open: Array<string> = []
  for (const folder of [dataDir, join(dataDir, "postgres")]) {
    if (await isOpen(folder)) await chmod(folder, 0o700).catch(() => open.push(folder))
  }
  return open
}
