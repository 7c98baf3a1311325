// The whole suite: one run of servers for all of it, five files at a time: they wait more than they work.
import { join } from "node:path"
import { defineConfig } from "vitest/config"
import { patienceMs } from "./support/Patience.ts"
import { ProcessesFirst } from "./support/ProcessesFirst.ts"
import { rounds } from "./support/Soak.ts"

export default defineConfig({
  root: join(import.meta.dirname, ".."),
  // The package by its name is the source here, as in tsconfig.json.
  resolve: {
    alias: [
      { find: /^hotpath$/, replacement: join(import.meta.dirname, "../src/Hotpath.ts") },
      { find: /^hotpath\/testing$/, replacement: join(import.meta.dirname, "../src/testing/Testing.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: [join(import.meta.dirname, "support/GlobalSetup.ts")],
    // More than one wait within it: what is missing is said by the wait, not by the end of the test.
    testTimeout: rounds(2, 20) * patienceMs,
    hookTimeout: 2 * patienceMs,
    maxWorkers: 5,
    sequence: { sequencer: ProcessesFirst },
    // A worker imports effect and src once, not once per file: 42 files without servers took 12 s of CPU instead of 33.
    // `pool: "threads"` took 14.
    isolate: false
  }
})
