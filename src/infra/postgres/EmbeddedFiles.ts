// The files of the embedded database: private to this user, and extracted from an image, since initdb takes seconds and
// 1.2 GB. The image is published by PGlite's authors; a test compares its catalog with what initdb of this PGlite
// makes.
import { mkdirSync, writeFileSync } from "node:fs"
import { chmod, mkdir, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { Readable } from "node:stream"
import { createGunzip } from "node:zlib"
import type { MemoryFS } from "@electric-sql/pglite"

interface ImageEntry {
  readonly name: string
  /** Undefined: a folder. */
  readonly data: Uint8Array | undefined
}

const blockSize = 512

const makeTake = (chunks: AsyncIterator<Buffer>) => {
  let chunk: Buffer = Buffer.alloc(0)
  /** The next bytes, copied. */
  return async (size: number): Promise<Buffer> => {
    const taken = Buffer.allocUnsafeSlow(size)
    let length = 0
    while (length < size) {
      if (chunk.length === 0) {
        const next = await chunks.next()
        if (next.done === true) throw new Error("the database's image ends too early")
        chunk = next.value
      }
      const copied = chunk.copy(taken, length)
      chunk = chunk.subarray(copied)
      length += copied
    }
    return taken
  }
}

const textOf = (header: Buffer, from: number, length: number) => {
  const field = header.toString("latin1", from, from + length)
  const end = field.indexOf("\0")
  return end === -1 ? field : field.slice(0, end)
}

/**
 * The files and folders in the image's order, a folder before its contents; plain tar, because names are short. Read
 * file by file: if all were unpacked at once, their memory would stay resident, because an idle process does not
 * collect garbage.
 */
async function* imageEntries(): AsyncGenerator<ImageEntry> {
  // Imported only by a start that makes a database.
  const { dataDir } = await import("@electric-sql/pglite-prepopulatedfs")
  const unpacked = Readable.fromWeb((await dataDir()).stream()).pipe(createGunzip({ chunkSize: 2 ** 16 }))
  const take = makeTake(unpacked[Symbol.asyncIterator]() as AsyncIterator<Buffer>)
  for (;;) {
    const header = await take(blockSize)
    const name = textOf(header, 0, 100)
    // Two empty blocks end a tar.
    if (name === "") return
    const size = Number.parseInt(textOf(header, 124, 12), 8)
    const isFolder = textOf(header, 156, 1) === "5"
    yield { name, data: isFolder ? undefined : await take(size) }
    await take((blockSize - (size % blockSize)) % blockSize)
  }
}

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
