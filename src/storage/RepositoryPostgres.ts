// The repository in PostgreSQL (a server's, or the embedded one): a write is there when it returns.
import { Effect, Layer } from "effect"
import { Database } from "../infra/Database.ts"
import { DeadRecords } from "./DeadRecords.ts"
import { Fences } from "./Fences.ts"
import { Repository } from "./Repository.ts"
import { makeDocuments } from "./repository/DocumentsSql.ts"
import { makeInvites } from "./repository/InvitesSql.ts"
import { makeMessages } from "./repository/MessagesSql.ts"
import { makeOutbox } from "./repository/OutboxSql.ts"
import { makePeople } from "./repository/PeopleSql.ts"
import { makePurge } from "./repository/PurgeSql.ts"
import { makeRooms } from "./repository/RoomsSql.ts"
import { makeSave } from "./repository/SaveSql.ts"
import { makeThreads } from "./repository/ThreadsSql.ts"

const repository = Layer.effect(
  Repository,
  Effect.gen(function* () {
    const database = yield* Database
    const fences = yield* Fences
    const rooms = makeRooms(database)
    return Repository.of({
      ...rooms,
      ...makeInvites(database, rooms.member),
      ...makeThreads(database),
      ...makeMessages(database),
      ...makeSave(database, yield* DeadRecords),
      ...makeDocuments(database),
      ...makeOutbox(database),
      ...makePeople(database),
      ...makePurge(database, fences)
    })
  })
)

export const layer = repository.pipe(Layer.provide([Fences.layer, DeadRecords.layer]))
