// All room stores, in memory: the same rules as in Postgres, and nothing survives a restart.
import { Layer } from "effect"
import * as ContactStoreMemory from "./ContactStoreMemory.ts"
import * as DocumentStoreMemory from "./DocumentStoreMemory.ts"
import * as InviteStoreMemory from "./InviteStoreMemory.ts"
import * as MemberStoreMemory from "./MemberStoreMemory.ts"
import { MemoryRooms } from "./MemoryRooms.ts"
import * as MessageStoreMemory from "./MessageStoreMemory.ts"
import * as OutboxMemory from "./OutboxMemory.ts"
import * as RoomPurgeMemory from "./RoomPurgeMemory.ts"
import * as RoomStoreMemory from "./RoomStoreMemory.ts"
import * as ThreadStoreMemory from "./ThreadStoreMemory.ts"

/** With the state, for what else stores in it (the flush of a write buffer). */
export const layer = Layer.mergeAll(
  ContactStoreMemory.layer,
  DocumentStoreMemory.layer,
  InviteStoreMemory.layer,
  MemberStoreMemory.layer,
  MessageStoreMemory.layer,
  OutboxMemory.layer,
  RoomPurgeMemory.layer,
  RoomStoreMemory.layer,
  ThreadStoreMemory.layer
).pipe(Layer.provideMerge(MemoryRooms.layer))
