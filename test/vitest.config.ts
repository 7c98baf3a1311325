// The whole suite: one run of servers for all of it, three files at a time: they wait more than they work.
import { join } from "node:path"
import { defineConfig } from "vitest/config"

export default defineConfig({
  root: join(import.meta.dirname, ".."),
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: [join(import.meta.dirname, "support/GlobalSetup.ts")],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 3
  }
})
