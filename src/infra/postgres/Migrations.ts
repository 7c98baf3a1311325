// The migrations in order. Each runs once, in one transaction under a table lock, so that instances that start at the
// same time wait for each other.
import { Effect } from "effect"
import { Migrator } from "effect/sql"
import catalogAndRecords from "./migrations/0001_catalog_and_records.ts"
import catalogSync from "./migrations/0002_catalog_sync.ts"
import recordsByDay from "./migrations/0003_records_by_day.ts"
import rooms from "./migrations/0004_rooms.ts"
import lockFences from "./migrations/0005_lock_fences.ts"
import documents from "./migrations/0006_documents.ts"
import bufferHolders from "./migrations/0007_buffer_holders.ts"
import assistant from "./migrations/0008_assistant.ts"
import invites from "./migrations/0009_invites.ts"
import serviceInstances from "./migrations/0010_service_instances.ts"
import bufferOrigin from "./migrations/0013_buffer_origin.ts"

export const migrate = Migrator.make({})({
  table: "hotpath_migrations",
  loader: Effect.succeed([
    [1, "catalog_and_records", Effect.succeed(catalogAndRecords)] as const,
    [2, "catalog_sync", Effect.succeed(catalogSync)] as const,
    [3, "records_by_day", Effect.succeed(recordsByDay)] as const,
    [4, "rooms", Effect.succeed(rooms)] as const,
    [5, "lock_fences", Effect.succeed(lockFences)] as const,
    [6, "documents", Effect.succeed(documents)] as const,
    [7, "buffer_holders", Effect.succeed(bufferHolders)] as const,
    [8, "assistant", Effect.succeed(assistant)] as const,
    [9, "invites", Effect.succeed(invites)] as const,
    [10, "service_instances", Effect.succeed(serviceInstances)] as const,
    [13, "buffer_origin", Effect.succeed(bufferOrigin)] as const
  ])
})
