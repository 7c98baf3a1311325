// Ids of messages that can be made again: the same message has the same id wherever it is sent from, and so is kept once.
import { createHash } from "node:crypto"

/**
 * The id of a message with a key. Who knows room, author and key can work it out, and gains nothing by it: only its author gets
 * a message of that id into the room, and to who is not in the room it answers like any id that is not there.
 */
export const keyedId = (roomId: string, author: string, key: string): string => {
  const hex = createHash("sha256")
    .update(JSON.stringify([roomId, author, key]))
    .digest("hex")
  // A UUID of version 8: the rest is ours to choose (RFC 9562).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
