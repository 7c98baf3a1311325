// The image that a new embedded database is made from, read file by file. If all files were unpacked at once, their
// memory would stay resident, because an idle process does not collect garbage.
import { Readable } from "node:stream"
import { createGunzip } from "node:zlib"

export interface ImageEntry {
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

/** The files and folders in the image's order, a folder before its contents. Plain tar, because names are short. */
export async function* imageEntries(): AsyncGenerator<ImageEntry> {
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
