// The migrations in order. Each runs once, in one transaction under a table lock, so that instances that start at the
// same time wait for each other. A file is loaded when it is to run.
import { Migrator } from "effect/sql"

export const migrate = Migrator.make({})({
  table: "hotpath_migrations",
  loader: Migrator.fromGlob({
    "./migrations/0001_catalog_and_records.ts": () => import("./migrations/0001_catalog_and_records.ts"),
    "./migrations/0002_catalog_sync.ts": () => import("./migrations/0002_catalog_sync.ts"),
    "./migrations/0003_records_by_day.ts": () => import("./migrations/0003_records_by_day.ts"),
    "./migrations/0004_rooms.ts": () => import("./migrations/0004_rooms.ts"),
    "./migrations/0005_lock_fences.ts": () => import("./migrations/0005_lock_fences.ts"),
    "./migrations/0006_documents.ts": () => import("./migrations/0006_documents.ts"),
    "./migrations/0007_buffer_holders.ts": () => import("./migrations/0007_buffer_holders.ts"),
    "./migrations/0008_assistant.ts": () => import("./migrations/0008_assistant.ts"),
    "./migrations/0009_invites.ts": () => import("./migrations/0009_invites.ts"),
    "./migrations/0010_service_instances.ts": () => import("./migrations/0010_service_instances.ts"),
    "./migrations/0013_buffer_origin.ts": () => import("./migrations/0013_buffer_origin.ts")
  })
})
