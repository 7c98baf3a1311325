// What a text costs in memory. V8 keeps a string whose characters are all below U+0100 with one byte a character, any other
// one with two: a single character makes all the others dearer. What lies between ASCII and U+0100 counts as two.

/** What a string, and the entry of a collection that holds it, cost beside its characters; about. */
export const entryBytes = 100

/** At most what the text takes on the heap, beside `entryBytes`. */
export const heapBytes = (text: string): number =>
  Buffer.byteLength(text) === text.length ? text.length : 2 * text.length
