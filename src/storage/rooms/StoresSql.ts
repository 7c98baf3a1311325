// All room stores, in Postgres (a server, or the embedded one): a write is stored when it returns.
import { Layer } from "effect"
import { ContactStore } from "./ContactStore.ts"
import { DocumentStore } from "./DocumentStore.ts"
import { InviteStore } from "./InviteStore.ts"
import { MemberStore } from "./MemberStore.ts"
import { MessageStore } from "./MessageStore.ts"
import { Outbox } from "./Outbox.ts"
import { RoomPurge } from "./RoomPurge.ts"
import { RoomStore } from "./RoomStore.ts"
import { ThreadStore } from "./ThreadStore.ts"

export const layer = Layer.mergeAll(
  ContactStore.layer,
  DocumentStore.layer,
  InviteStore.layer,
  MessageStore.layer,
  Outbox.layer,
  RoomPurge.layer,
  RoomStore.layer,
  ThreadStore.layer
).pipe(Layer.provideMerge(MemberStore.layer))
