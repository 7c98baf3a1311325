// All room stores, in Postgres (a server, or the embedded one): a write is stored when it returns.
import { Layer } from "effect"
import * as ContactStoreSql from "./ContactStoreSql.ts"
import * as DocumentStoreSql from "./DocumentStoreSql.ts"
import * as InviteStoreSql from "./InviteStoreSql.ts"
import * as MemberStoreSql from "./MemberStoreSql.ts"
import * as MessageStoreSql from "./MessageStoreSql.ts"
import * as OutboxSql from "./OutboxSql.ts"
import * as RoomPurgeSql from "./RoomPurgeSql.ts"
import * as RoomStoreSql from "./RoomStoreSql.ts"
import * as ThreadStoreSql from "./ThreadStoreSql.ts"

export const layer = Layer.mergeAll(
  ContactStoreSql.layer,
  DocumentStoreSql.layer,
  InviteStoreSql.layer,
  MessageStoreSql.layer,
  OutboxSql.layer,
  RoomPurgeSql.layer,
  RoomStoreSql.layer,
  ThreadStoreSql.layer
).pipe(Layer.provideMerge(MemberStoreSql.layer))
