// The Database service over PGlite, which the same client uses through its wire protocol. PGlite is one session in this
// process: statements run one after the other, and a folder belongs to one process at a time.
import { Duplex } from "node:stream"
import { setFlagsFromString } from "node:v8"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { PGlite } from "@electric-sql/pglite"
import { Duration, Effect, FileSystem, Layer, Path, Schema } from "effect"
import { Reactivity } from "effect/reactivity"
import { Database, DatabaseUnavailable, makeDatabase } from "./Database.ts"
import { extractImage, makeMemoryFiles, makePrivate } from "./EmbeddedFiles.ts"

/** Another process has the folder open; two would corrupt it. */
export class DataDirInUse extends Schema.TaggedError<DataDirInUse>()("DataDirInUse", {
  dataDir: Schema.String,
  pid: Schema.Finite
}) {
  override get message() {
    return `DATA_DIR ${this.dataDir} is in use by process ${this.pid}`
  }
}

/** The embedded database does not start. */
export class EmbeddedFailed extends Schema.TaggedError<EmbeddedFailed>()("EmbeddedFailed", {
  cause: Schema.Defect()
}) {
  override get message() {
    return `the embedded database does not start: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

const attempt = <A>(run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => new EmbeddedFailed({ cause }) })

/** The client's end of a connection: writes are the frontend's bytes, reads the backend's. */
class PgliteConnection extends Duplex {
  readonly #database: PGlite

  constructor(database: PGlite) {
    super()
    this.#database = database
  }

  override _read() {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void) {
    this.#database
      .runExclusive(() => this.#database.execProtocolRaw(chunk))
      .then(
        (answer) => {
          if (answer.length > 0) this.push(answer)
          done()
        },
        (error: Error) => done(error)
      )
  }
}

const isAlive = (pid: number) =>
  Effect.try({ try: () => process.kill(pid, 0), catch: (error) => error as NodeJS.ErrnoException }).pipe(
    Effect.match({ onSuccess: () => true, onFailure: (error) => error.code === "EPERM" })
  )

const lock = Effect.fnUntraced(function* (dataDir: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(dataDir, "hotpath.pid")
  const written = fs.writeFileString(file, String(process.pid), { flag: "wx" })
  yield* written.pipe(
    Effect.catch((error) =>
      Effect.gen(function* () {
        const pid = Number(yield* fs.readFileString(file))
        if (pid > 0 && pid !== process.pid && (yield* isAlive(pid))) return yield* new DataDirInUse({ dataDir, pid })
        // A process that crashed left the file behind.
        if (!Number.isFinite(pid)) return yield* error
        yield* fs.remove(file)
        return yield* written
      })
    )
  )
  yield* Effect.addFinalizer(() => Effect.ignore(fs.remove(file)))
})

/** Locks the folder for this process, makes the files of a new database, and returns their folder. */
const openFolder = Effect.fnUntraced(function* (dataDir: string) {
  for (const folder of yield* attempt(() => makePrivate(dataDir))) {
    yield* Effect.logWarning("other users may read the embedded database: the folder's mode can't be set to 0700", {
      folder
    })
  }
  yield* Effect.catchTag(lock(dataDir), "PlatformError", (cause) => Effect.fail(new EmbeddedFailed({ cause })))
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files = path.join(dataDir, "postgres")
  if (yield* Effect.orElseSucceed(fs.exists(path.join(files, "PG_VERSION")), () => false)) {
    yield* Effect.logInfo("opening the embedded database", { dataDir })
  } else {
    yield* Effect.logInfo("making the embedded database", { dataDir })
    yield* attempt(() => extractImage(files))
  }
  return files
})

const inMemory = "memory://"

// One session does not need 128 MB of shared buffers (PGlite's default), which would all be resident: the kernel, or
// this process with `memory://`, caches the pages as well.
const sharedBuffers = ["-c", "shared_buffers=16MB"]

/**
 * Keeps V8 from optimizing PostgreSQL's WebAssembly: at each start its largest function takes 600 MB for half a second,
 * of which 100 MB stay. Statements take up to one and a half times as long for it. The flags hold for the whole
 * process, also for code compiled later.
 */
const dontOptimize = () => {
  setFlagsFromString("--no-wasm-tier-up")
  setFlagsFromString("--no-wasm-dynamic-tiering")
}

// Imported only where it is used: a process with a PostgreSQL server is 30 MB smaller.
const open = async (location: string) => {
  const { PGlite } = await import("@electric-sql/pglite")
  const startParams = [...PGlite.defaultStartParams, ...sharedBuffers]
  const options =
    location === inMemory ? { fs: await makeMemoryFiles(), startParams } : { dataDir: location, startParams }
  dontOptimize()
  return PGlite.create(options)
}

/** `dataDir`: a folder, made if missing, or `memory://`. */
export const layer = (options: { readonly dataDir: string; readonly timeout: Duration.Duration }) =>
  Layer.effect(
    Database,
    Effect.gen(function* () {
      const location = options.dataDir.startsWith("memory:") ? inMemory : yield* openFolder(options.dataDir)
      if (location === inMemory) yield* Effect.logInfo("making the embedded database in memory: a restart loses it")
      const database = yield* Effect.acquireRelease(
        attempt(() => open(location)),
        (opened) => Effect.ignore(Effect.tryPromise(() => opened.close()))
      )
      const sql = yield* PgClient.make({
        stream: () => new PgliteConnection(database),
        username: "postgres",
        database: "postgres",
        maxConnections: 1,
        idleTimeout: Duration.infinity
      })
      // The first migration takes seconds on a slow disk.
      return yield* makeDatabase({
        kind: "embedded",
        setting: { name: "DATA_DIR", value: options.dataDir },
        sql,
        timeout: options.timeout,
        patience: Duration.seconds(60),
        listen: (channel, { receive }) =>
          Effect.acquireRelease(
            Effect.tryPromise({
              try: () => database.listen(channel, receive),
              catch: () => new DatabaseUnavailable({ reason: "the embedded database does not listen" })
            }),
            (unlisten) => Effect.ignore(Effect.tryPromise(() => unlisten()))
          )
      })
    })
  ).pipe(Layer.provide(Reactivity.layer))
