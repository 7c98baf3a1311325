// The repository in memory, for tests and for a process that needs nothing kept: the same rules as in PostgreSQL, and
// nothing survives a restart.
import { Effect, Layer } from "effect"
import { makeSave } from "../../buffer/memory/FlushTargetMemory.ts"
import { Repository } from "../Repository.ts"
import { makePeople } from "./ContactStoreMemory.ts"
import { makeDocuments } from "./DocumentStoreMemory.ts"
import { makeInvites } from "./InviteStoreMemory.ts"
import { makeMessages } from "./MessageStoreMemory.ts"
import { makeOutbox } from "./OutboxMemory.ts"
import { makePurge } from "./PurgeMemory.ts"
import { makeRooms } from "./RoomStoreMemory.ts"
import { emptyState } from "./RoomTransactionMemory.ts"
import { makeThreads } from "./ThreadStoreMemory.ts"

export const layer = Layer.effect(
  Repository,
  Effect.sync(() => {
    const held = emptyState()
    return Repository.of({
      ...makeRooms(held),
      ...makeInvites(held),
      ...makeThreads(held),
      ...makeMessages(held),
      ...makeSave(held),
      ...makeDocuments(held),
      ...makeOutbox(held),
      ...makePeople(held),
      ...makePurge(held)
    })
  })
)
