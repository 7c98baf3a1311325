// What a text costs in memory. V8 stores a string whose characters are all below U+0100 with one byte per character,
// any other with two. Characters between ASCII and U+0100 are counted as two bytes here.

/** What a string and the entry of a collection that holds it cost besides its characters, approximately. */
export const entryBytes = 100

/** An upper bound of what the text takes on the heap, besides `entryBytes`. */
export const heapBytes = (text: string): number =>
  Buffer.byteLength(text) === text.length ? text.length : 2 * text.length
