// The package's entry, `import … from "hotpath"`: the service, its settings, and the tag of every service, with the
// errors and types that a program over them names. A service's layers are on its class. It is for users of the package:
// nothing in src imports it. What tests need is in testing/Testing.ts, `hotpath/testing`.

export { App, Service } from "./App.ts"
export { AdminGuard, AdminToken } from "./admin/AdminGuard.ts"
export { Cancellation } from "./assistant/Cancellation.ts"
export { Coaching } from "./assistant/Coaching.ts"
export { Deltas } from "./assistant/Deltas.ts"
export { Generation } from "./assistant/Generation.ts"
export { Prompts } from "./assistant/Prompts.ts"
export { Call, type CallError, type CallReply, type CallRequest } from "./calls/Call.ts"
export { Breaker } from "./calls/fetch/Breaker.ts"
export { Fetch } from "./calls/fetch/Fetch.ts"
export { ResponseCache } from "./calls/fetch/ResponseCache.ts"
export { Lookup } from "./calls/Lookup.ts"
export { Record } from "./calls/Record.ts"
export { Catalog } from "./catalog/Catalog.ts"
export { CatalogEditor } from "./catalog/CatalogEditor.ts"
export type { CatalogStoreError } from "./catalog/CatalogEntry.ts"
export { CatalogRedis, CatalogRedisUnavailable } from "./catalog/CatalogRedis.ts"
export { CatalogRowInvalid, CatalogStore } from "./catalog/CatalogStore.ts"
export { CatalogSync } from "./catalog/CatalogSync.ts"
export { RateLimits } from "./cluster/limits/RateLimits.ts"
export { UserLimits } from "./cluster/limits/UserLimits.ts"
export { LockCommands } from "./cluster/locks/LockCommands.ts"
export { LockBusy, LockLost, Locks } from "./cluster/locks/Locks.ts"
export { MembershipCache } from "./cluster/rooms/MembershipCache.ts"
export { Presence } from "./cluster/rooms/Presence.ts"
export { PresenceCommands } from "./cluster/rooms/PresenceCommands.ts"
export { BusUnavailable, RoomBus } from "./cluster/rooms/RoomBus.ts"
export { SharedCache } from "./cluster/SharedCache.ts"
export { SharedStores } from "./cluster/stores/SharedStores.ts"
export { RecordUnavailable } from "./domain/CallRecord.ts"
export { TooManyContacts } from "./domain/Contact.ts"
export { VersionConflict } from "./domain/Document.ts"
export { GenerationBusy, GenerationCancelled } from "./domain/Generation.ts"
export { IdentityUnavailable, Unauthorized } from "./domain/Identity.ts"
export {
  IntegrationInvalidResponse,
  IntegrationNotFound,
  IntegrationOpen,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable,
  InvalidInput
} from "./domain/Integration.ts"
export { TooManyInvites } from "./domain/Invite.ts"
export { MessageNotFound, ThreadNotFound, TooManyReactions } from "./domain/Message.ts"
export { Draining, Overloaded, RateLimited, ReplyTooLarge } from "./domain/Overload.ts"
export {
  BufferFull,
  Forbidden,
  InviteInvalid,
  MembershipUnsure,
  NotAMember,
  RoomNotFound,
  StorageUnavailable,
  StoresDiffer,
  TooManyRooms
} from "./domain/Room.ts"
export { ConfigUnavailable } from "./domain/UserConfig.ts"
export { NotFound, VersionMismatch } from "./domain/Version.ts"
export { Connections } from "./gateway/connection/Connections.ts"
export { Gateway, ListenFailed } from "./gateway/Gateway.ts"
export { Handling } from "./gateway/handlers/Handlers.ts"
export { Authentication, DevelopmentOnPublicAddress } from "./gateway/http/Authentication.ts"
export { Dispatcher } from "./gateway/requests/Dispatcher.ts"
export { FailureLog } from "./gateway/requests/FailureLog.ts"
export { EgressPolicy } from "./infra/http/EgressPolicy.ts"
export {
  Http,
  type HttpAnswer,
  HttpAnswerTooLarge,
  type HttpError,
  type HttpRequest,
  HttpTimeout,
  HttpUnreachable
} from "./infra/http/Http.ts"
export { LocalHosts } from "./infra/http/LocalHosts.ts"
export { Database, DatabaseRefused, DatabaseUnavailable } from "./infra/postgres/Database.ts"
export { DatabaseHealth } from "./infra/postgres/DatabaseHealth.ts"
export { DataDirInUse, EmbeddedFailed } from "./infra/postgres/PostgresEmbedded.ts"
export { RoomLog } from "./infra/RoomLog.ts"
export { RedisHealth } from "./infra/redis/RedisHealth.ts"
export { RedisUnavailable } from "./infra/redis/RedisUnavailable.ts"
export { StoreMisconfigured } from "./infra/StoreFault.ts"
export { Lifecycle } from "./observability/Lifecycle.ts"
export { Metrics } from "./observability/Metrics.ts"
export type { ClientError, MethodError, MethodName, Params, Result } from "./protocol/methods/Methods.ts"
export { Access, type AccessError } from "./rooms/Access.ts"
export { Contacts } from "./rooms/Contacts.ts"
export { CustomEvents } from "./rooms/CustomEvents.ts"
export { Documents } from "./rooms/Documents.ts"
export { Hub } from "./rooms/delivery/Hub.ts"
export { OutboxRelay } from "./rooms/delivery/OutboxRelay.ts"
export { UnpublishedRooms } from "./rooms/delivery/UnpublishedRooms.ts"
export { Invites } from "./rooms/Invites.ts"
export { Messages } from "./rooms/Messages.ts"
export { PresenceTracker } from "./rooms/PresenceTracker.ts"
export { RoomReadCache } from "./rooms/RoomReadCache.ts"
export { Rooms } from "./rooms/Rooms.ts"
export { Signals } from "./rooms/Signals.ts"
export { type Guest, Subscriptions } from "./rooms/Subscriptions.ts"
export { Threads } from "./rooms/Threads.ts"
export { Settings, SettingsInvalid, type SettingsShape } from "./Settings.ts"
export { Flusher } from "./storage/buffer/Flusher.ts"
export { FlushTarget } from "./storage/buffer/FlushTarget.ts"
export { UnflushedWrites } from "./storage/buffer/UnflushedWrites.ts"
export { BufferUnavailable, WriteBuffer } from "./storage/buffer/WriteBuffer.ts"
export { WriteMode } from "./storage/buffer/WriteMode.ts"
export { WriteRouting } from "./storage/buffer/WriteRouting.ts"
export { BufferLeased, WriterLeases } from "./storage/buffer/WriterLeases.ts"
export { DeadLetters } from "./storage/DeadLetters.ts"
export { Fenced, LockFences } from "./storage/LockFences.ts"
export { RecordStreamUnavailable } from "./storage/records/RecordLog.ts"
export { RecordStore } from "./storage/records/RecordStore.ts"
export { RecordStream } from "./storage/records/RecordStream.ts"
export { RecordWriter } from "./storage/records/RecordWriter.ts"
export { ContactStore } from "./storage/rooms/ContactStore.ts"
export { DocumentStore } from "./storage/rooms/DocumentStore.ts"
export { InviteStore } from "./storage/rooms/InviteStore.ts"
export { MemberStore } from "./storage/rooms/MemberStore.ts"
export { MessageStore } from "./storage/rooms/MessageStore.ts"
export { Outbox } from "./storage/rooms/Outbox.ts"
export { RoomPurge } from "./storage/rooms/RoomPurge.ts"
export { RoomStore } from "./storage/rooms/RoomStore.ts"
export { ThreadStore } from "./storage/rooms/ThreadStore.ts"
export { UnpublishedNotices } from "./storage/rooms/UnpublishedNotices.ts"
