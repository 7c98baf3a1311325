// The repository in PostgreSQL (a server's, or the embedded one): a write is there when it returns.
import { Effect, Layer } from "effect"
import { Database } from "../../infra/postgres/Database.ts"
import { makeSave } from "../buffer/FlushTargetSql.ts"
import { DeadLetters } from "../DeadLetters.ts"
import { LockFences } from "../LockFences.ts"
import { makePeople } from "./ContactStoreSql.ts"
import { makeDocuments } from "./DocumentStoreSql.ts"
import { makeInvites } from "./InviteStoreSql.ts"
import { makeMessages } from "./MessageStoreSql.ts"
import { makeOutbox } from "./OutboxSql.ts"
import { makePurge } from "./PurgeSql.ts"
import { Repository } from "./Repository.ts"
import { makeRooms } from "./RoomStoreSql.ts"
import { makeThreads } from "./ThreadStoreSql.ts"

const repository = Layer.effect(
  Repository,
  Effect.gen(function* () {
    const database = yield* Database
    const fences = yield* LockFences
    const rooms = makeRooms(database)
    return Repository.of({
      ...rooms,
      ...makeInvites(database, rooms.member),
      ...makeThreads(database),
      ...makeMessages(database),
      ...makeSave(database, yield* DeadLetters),
      ...makeDocuments(database),
      ...makeOutbox(database),
      ...makePeople(database),
      ...makePurge(database, fences)
    })
  })
)

export const layer = repository.pipe(Layer.provide([LockFences.layer, DeadLetters.layer]))
