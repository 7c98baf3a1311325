// The files of the embedded database: private to this user, and extracted from an image, since initdb takes seconds and
// 1.2 GB. The image is published by PGlite's authors; a test compares its catalog with what initdb of this PGlite
// makes.
import { mkdirSync, writeFileSync } from "node:fs"
import { chmod, mkdir, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import type { MemoryFS } from "@electric-sql/pglite"
import { imageEntries } from "./EmbeddedImage.ts"

/** Makes `folder` from the image: whole or not at all, even if the process is killed. */
export const extractImage = async (folder: string): Promise<void> => {
  const unfinished = `${folder}.unfinished`
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { mode: 0o700 })
  for await (const { data, name } of imageEntries()) {
    // A thousand small files: the thread pool would take longer than the writes.
    if (data === undefined) mkdirSync(join(unfinished, name), { recursive: true, mode: 0o700 })
    else writeFileSync(join(unfinished, name), data, { mode: 0o600 })
  }
  await rename(unfinished, folder)
}

/** A file system in memory that holds the image. PGlite's own `loadDataDir` makes four copies of it. */
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

/** True if other users may read the folder. A sticky one (/tmp) is shared on purpose. */
const isOpen = async (folder: string) => {
  const { mode } = await stat(folder).catch(() => ({ mode: 0o700 }))
  return (mode & 0o077) !== 0 && (mode & 0o1000) === 0
}

/** Makes the folder, or makes an existing one private. Returns the folders that this process may not change. */
export const makePrivate = async (dataDir: string): Promise<ReadonlyArray<string>> => {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const open: Array<string> = []
  for (const folder of [dataDir, join(dataDir, "postgres")]) {
    if (await isOpen(folder)) await chmod(folder, 0o700).catch(() => open.push(folder))
  }
  return open
}
