// The repository in memory, for tests and for a process that needs nothing kept: the same rules as in PostgreSQL, and
// nothing survives a restart.
import { Effect, Layer } from "effect"
import { Repository } from "./Repository.ts"
import { makeDocuments } from "./repository/DocumentsMemory.ts"
import { makeInvites } from "./repository/InvitesMemory.ts"
import { makeMessages } from "./repository/MessagesMemory.ts"
import { makeOutbox } from "./repository/OutboxMemory.ts"
import { makePeople } from "./repository/PeopleMemory.ts"
import { makePurge } from "./repository/PurgeMemory.ts"
import { makeRooms } from "./repository/RoomsMemory.ts"
import { nothingHeld } from "./repository/RoomWriteMemory.ts"
import { makeSave } from "./repository/SaveMemory.ts"
import { makeThreads } from "./repository/ThreadsMemory.ts"

export const layer = Layer.effect(
  Repository,
  Effect.sync(() => {
    const held = nothingHeld()
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
