#!/usr/bin/env node
// Launches App, prints where it listens, and shuts down on signals: the first SIGTERM or SIGINT drains, the second
// exits at once. Exit code 0: all work was completed; 1: the start failed, or work was left at the deadline.
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Cause, Console, Duration, Effect, Exit, Fiber, Layer, Redacted, References, Scope } from "effect"
import { App } from "./App.ts"
import { AdminToken } from "./admin/AdminGuard.ts"
import { Gateway } from "./gateway/Gateway.ts"
import { Lifecycle } from "./observability/Lifecycle.ts"
import { isDevelopment, Settings } from "./Settings.ts"

// Files of this process are private to its user; the embedded database's would have mode 0666 otherwise.
process.umask(0o077)

/** scripts/call is in the repository, beside src/ and dist/server/ (scripts/bundle.mjs), and not in the package. */
const hasScripts = ["../scripts/call", "../../scripts/call"].some((path) => existsSync(join(import.meta.dirname, path)))

const welcome = Effect.gen(function* () {
  const { address } = yield* Gateway
  const { isMade, token } = yield* AdminToken
  const settings = yield* Settings
  const host = address.host.includes(":") ? `[${address.host}]` : address.host
  const ws = `ws://${host}:${address.port}/ws`
  const development = isDevelopment(settings)
  const attempt = `scripts/call call '{"integration":"weather","input":{"city":"London"}}' --url ${ws}${development ? "" : " --token JWT"}`
  // A token made at this start is printed in development only: elsewhere logs are stored, and read by others.
  const admin = isMade && development ? Redacted.value(token) : undefined
  if (settings.LOG_FORMAT === "json" || !process.stdout.isTTY) {
    yield* Effect.logInfo("listening", {
      ws,
      ...(hasScripts && { try: attempt }),
      ...(admin !== undefined && { adminToken: admin })
    })
  } else {
    yield* Console.log(`\n  hotpath listens on ${ws}\n${hasScripts ? `\n  Try:  ${attempt}\n` : ""}`)
    if (admin !== undefined) yield* Console.log(`  ADMIN_TOKEN for this run:  ${admin}\n`)
  }
  if (isMade && !development) {
    yield* Effect.logWarning(
      "ADMIN_TOKEN is not set: /admin takes a token that was made at this start, and is not in the log"
    )
    if (process.stderr.isTTY) yield* Console.error(`  ADMIN_TOKEN for this run:  ${Redacted.value(token)}\n`)
  }
})

const firstSignal = Effect.callback<void>((resume) => {
  const signals = ["SIGTERM", "SIGINT"] as const
  const again = () => process.exit(1)
  const first = () => {
    for (const signal of signals) process.off(signal, first).on(signal, again)
    resume(Effect.void)
  }
  for (const signal of signals) process.on(signal, first)
})

const program = Effect.gen(function* () {
  const signal = yield* Effect.forkChild(firstSignal, { startImmediately: true })
  const scope = yield* Scope.make()
  const built = yield* Effect.exit(Layer.buildWithScope(App, scope))
  if (Exit.isFailure(built)) {
    const failure = Cause.squash(built.cause)
    yield* Console.error(`hotpath did not start: ${failure instanceof Error ? failure.message : String(failure)}`)
    yield* Scope.close(scope, built)
    return 1
  }
  return yield* Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    yield* welcome
    yield* Fiber.join(signal)
    yield* lifecycle.drain
    yield* Effect.logInfo("draining")
    // A finalizer that hangs must not keep the process alive much longer than the deadline.
    const hardStop = Duration.sum(yield* lifecycle.remaining, Duration.seconds(3))
    yield* Effect.forkDetach(
      Effect.delay(
        Effect.sync(() => process.exit(1)),
        hardStop
      )
    )
    yield* Scope.close(scope, Exit.void)
    yield* Effect.logInfo("stopped", { left: lifecycle.left() })
    return lifecycle.left().length === 0 ? 0 : 1
  }).pipe(Effect.provideContext(built.value))
}).pipe(Effect.provideService(References.TracerEnabled, false))

process.exit(await Effect.runPromise(program))
