import { LRUCache } from "lru-cache"

/**
 * A map of at most so many entries, which drops the least recently used. It grows as it fills: `max` of the library
 * would allocate for all entries at once, which is megabytes for bounds that are rarely reached.
 */
export const makeBoundedMap = <A extends {}>(maxEntries: number, onDropped?: () => void) =>
  new LRUCache<string, A>({
    maxSize: maxEntries,
    sizeCalculation: () => 1,
    ...(onDropped !== undefined && {
      dispose: (_value: A, _key: string, reason: LRUCache.DisposeReason) => {
        if (reason === "evict") onDropped()
      }
    })
  })

export type BoundedMap<A extends {}> = ReturnType<typeof makeBoundedMap<A>>
