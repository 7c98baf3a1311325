// The repository in PostgreSQL (a server's, or the embedded one): a write is there when it returns.
import { Effect, Layer } from "effect"
import { Database } from "../infra/Database.ts"
import { Repository } from "./Repository.ts"
import { makeMessages } from "./repository/MessagesSql.ts"
import { makeOutbox } from "./repository/OutboxSql.ts"
import { makePeople } from "./repository/PeopleSql.ts"
import { makeRooms } from "./repository/RoomsSql.ts"
import { makeThreads } from "./repository/ThreadsSql.ts"

export const layer = Layer.effect(
  Repository,
  Effect.map(Database, (database) =>
    Repository.of({
      ...makeRooms(database),
      ...makeThreads(database),
      ...makeMessages(database),
      ...makeOutbox(database),
      ...makePeople(database)
    })
  )
)
