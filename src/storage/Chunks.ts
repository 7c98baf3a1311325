/** The bounds of a chunk. An item that is larger than `maxSize` is a chunk by itself. */
export interface ChunkBounds<A> {
  readonly sizeOf: (item: A) => number
  readonly maxSize: number
  readonly maxCount?: number
}

/** Splits items into chunks of bounded size and count, in their order. */
export const chunksBy = function* <A>(
  items: Iterable<A>,
  { maxCount = Number.POSITIVE_INFINITY, maxSize, sizeOf }: ChunkBounds<A>
): Generator<ReadonlyArray<A>> {
  let chunk: Array<A> = []
  let size = 0
  for (const item of items) {
    const more = sizeOf(item)
    if (chunk.length > 0 && (size + more > maxSize || chunk.length === maxCount)) {
      yield chunk
      chunk = []
      size = 0
    }
    chunk.push(item)
    size += more
  }
  if (chunk.length > 0) yield chunk
}
