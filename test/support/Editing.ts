// Editing a room's document: until it is taken, with what was acknowledged written down, and what Postgres has of it.
import { query } from "./Databases.ts"
import type { RoomClient } from "./RoomClient.ts"

export interface Edit {
  readonly version: number
  readonly text: string
}

/** Replaces the text, from the version that is there, however often somebody else is faster. */
export const edit = async (
  client: RoomClient,
  roomId: string,
  text: string,
  from?: number
): Promise<Edit & { readonly savedVersion: number }> => {
  let baseVersion = from ?? (await client.call("document.get", { roomId })).version
  for (;;) {
    const { error, result } = await client.ask("document.update", { roomId, baseVersion, text })
    if (result !== undefined) return { ...result, text }
    if (error?.data.type !== "VersionConflict") throw new Error(`${client.user}: ${error?.data.type}`)
    baseVersion = Number(error.data["version"])
  }
}

/** So many edits, one after the other, each saying whose and the how manieth it is. */
export const edits = async (client: RoomClient, roomId: string, name: string, count: number) => {
  const acknowledged: Array<Edit> = []
  for (let n = 0; n < count; n++) {
    const { text, version } = await edit(client, roomId, `${name} ${n}`, acknowledged.at(-1)?.version)
    acknowledged.push({ text, version })
  }
  return acknowledged
}

export const inOrder = (all: ReadonlyArray<Edit>): ReadonlyArray<Edit> => [...all].sort((a, b) => a.version - b.version)

/** The document as Postgres has it. */
export const storedDocument = async (database: string, roomId: string, name = "main"): Promise<Edit | undefined> => {
  const [row] = await query<Edit>(
    database,
    "SELECT text, version::int FROM documents WHERE room_id = $1::text::uuid AND name = $2",
    [roomId, name]
  )
  return row === undefined ? undefined : { version: row.version, text: row.text }
}

export const storedBodies = async (database: string, roomId: string): Promise<ReadonlyArray<string>> => {
  const rows = await query<{ body: string }>(
    database,
    "SELECT body FROM messages WHERE room_id = $1::text::uuid ORDER BY position",
    [roomId]
  )
  return rows.map(({ body }) => body)
}

/** The updates that a connection was told of, with its own without the text. */
export const updatesTold = (client: RoomClient, roomId: string) =>
  client
    .told(roomId)
    .flatMap(({ event }) =>
      event.type === "document.updated"
        ? [{ version: event.version, author: event.author, ...(event.text !== undefined && { text: event.text }) }]
        : []
    )
