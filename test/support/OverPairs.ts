// The same tests over two instances in this process, in memory, and in a soak run also over processes with real servers.
import { describe } from "vitest"
import { type MemoryOptions, startMemoryPair } from "./MemoryPair.ts"
import { type RoomPair, startAlone, startRoomPair } from "./RoomPair.ts"
import { isSoak } from "./Soak.ts"

/** Processes have no use for the options: their network does what it does. */
export type StartPair = (env?: Readonly<Record<string, string>>, memory?: MemoryOptions) => Promise<RoomPair>

interface Options {
  /** In a soak run over one process without Redis too. */
  readonly alone?: boolean
}

export const overPairs = (what: string, tests: (start: StartPair) => void, { alone = false }: Options = {}): void => {
  const kinds: ReadonlyArray<readonly [string, StartPair]> = [
    ["in memory", startMemoryPair],
    ...(isSoak ? [["over Redis and PostgreSQL", startRoomPair] as const] : []),
    ...(isSoak && alone ? [["without Redis", startAlone] as const] : [])
  ]
  for (const [name, start] of kinds) describe(`${what}, ${name}`, () => tests(start))
}
