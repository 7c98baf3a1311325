// An effect of which one run is under way at a time, in the scope: who asks meanwhile waits for it. It goes on when
// they don't.
import { Deferred, Effect, type Scope } from "effect"

export const makeSharedRun = <R>(
  run: Effect.Effect<void, never, R>,
  scope: Scope.Scope
): { readonly run: Effect.Effect<void, never, R>; readonly isUnderWay: () => boolean } => {
  let running: Deferred.Deferred<void> | undefined
  // It is begun by who can't be interrupted then: noted and not begun, it would never end.
  const shared = Effect.uninterruptibleMask((restore) => {
    if (running !== undefined) return restore(Deferred.await(running))
    const done = Deferred.makeUnsafe<void>()
    running = done
    const ended = Effect.sync(() => {
      running = undefined
      Deferred.doneUnsafe(done, Effect.void)
    })
    return Effect.ensuring(run, ended).pipe(
      Effect.forkIn(scope, { startImmediately: true }),
      Effect.andThen(restore(Deferred.await(done)))
    )
  })
  return { run: shared, isUnderWay: () => running !== undefined }
}
