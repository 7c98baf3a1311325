// Generates the answer to a prompt with the `generate` integration. Prompt and response are messages of the room, and
// parts of the response are published while they arrive. A prompt has one generation at a time over all instances (a
// lock), and at most one response. A caller who asks for the same prompt while it runs waits for its result for a
// while. Losing the lock ends nothing: then two generations may run, and the response that is stored first is the
// result of both.
//
// The states: asked → placed (a place is taken, the prompt stored) → locked → generating → answered (the response
// stored). It ends without a response when the integration fails, the prompt is cancelled, deleted or edited, the
// asking connection closes, or its user loses the room. Then the connection to the integration is closed and
// `generate.ended` is published. Once the text is complete, storing it is not interrupted. A prompt that is taken up
// again starts from the beginning: `generate.ended` with `Restarted` is published first, in case an instance was killed
// before it could end what it had published.
import { Cause, Context, Effect, Exit, Layer, Option, Result, Schedule } from "effect"
import type { FetchError, Target } from "../calls/fetch/Exchange.ts"
import { Fetch } from "../calls/fetch/Fetch.ts"
import { Lookup } from "../calls/Lookup.ts"
import { Locks } from "../cluster/locks/Locks.ts"
import { GenerationBusy, GenerationCancelled } from "../domain/Generation.ts"
import type { IntegrationNotFound } from "../domain/Integration.ts"
import { type Message, MessageNotFound, maxBody, type ThreadNotFound } from "../domain/Message.ts"
import type { RateLimited } from "../domain/Overload.ts"
import type { BufferFull } from "../domain/Room.ts"
import type { ConfigUnavailable } from "../domain/UserConfig.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Access, type AccessError } from "../rooms/Access.ts"
import { Settings } from "../Settings.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { DocumentStore } from "../storage/rooms/DocumentStore.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"
import { Cancellation } from "./Cancellation.ts"
import { Deltas } from "./Deltas.ts"
import { makeModelRate, makePlaces } from "./Places.ts"
import { type Answered, type Asked, type Opened, Prompts, responseIdOf } from "./Prompts.ts"

export type GenerateError =
  | IntegrationNotFound
  | ConfigUnavailable
  | FetchError
  | WriteRefused
  | BufferFull
  | ThreadNotFound
  | MessageNotFound
  | GenerationBusy
  | GenerationCancelled
  | RateLimited

/** What accompanies a prompt: earlier messages of the room, and characters of its document. */
const recentMessages = 20
const maxDocument = 100_000
/** The lock of an instance that was killed is free after `ttl`; a retry waits a little longer than that. */
const lockOptions = { ttl: "5 seconds", wait: "8 seconds" } as const
/** How often a generation checks that its user may still write in the room, and that the prompt is unchanged. */
const checkEvery = "1 second"

const reasonOf = (cause: Cause.Cause<{ readonly _tag: string }>): string =>
  Option.match(Cause.findErrorOption(cause), { onNone: () => "Interrupted", onSome: ({ _tag }) => _tag })

export class Generation extends Context.Service<
  Generation,
  {
    /** `inOrder` stores the prompt in the order of its connection's other writes. */
    readonly generate: (
      user: string,
      asked: Asked,
      inOrder: <A, E>(write: Effect.Effect<A, E>) => Effect.Effect<A, E>
    ) => Effect.Effect<Answered, GenerateError>
    /** For the prompt's author and the room's owners. Has no effect when no generation of the prompt runs. */
    readonly cancel: (
      user: string,
      roomId: string,
      messageId: string
    ) => Effect.Effect<void, AccessError | MessageNotFound>
  }
>()("hotpath/assistant/Generation") {
  static readonly layer = Layer.effect(
    Generation,
    Effect.gen(function* () {
      const access = yield* Access
      const cancellation = yield* Cancellation
      const deltas = yield* Deltas
      const fetch = yield* Fetch
      const locks = yield* Locks
      const lookup = yield* Lookup
      const takeModelRate = yield* makeModelRate
      const prompts = yield* Prompts
      const documents = yield* DocumentStore
      const store = yield* MessageStore
      const { MAX_GENERATIONS } = yield* Settings
      const { counters, gauge } = yield* Metrics
      const ended = counters("generations_total", "Generations, by how they ended", "outcome")
      const places = yield* makePlaces(MAX_GENERATIONS, "generations")
      const waiting = new Set<symbol>()
      gauge("generations_waiting", "Generations that wait for an earlier one of the same prompt", () => waiting.size)
      gauge("generations_running", "Generations that have a place", places.taken)

      /** The integration's input. What members of the room wrote is data in it. */
      const gather = Effect.fnUntraced(function* (prompt: Message) {
        const { name, text, version } = yield* documents.get(prompt.roomId)
        const page = yield* Effect.result(
          store.page(prompt.roomId, { before: prompt.messageId, limit: recentMessages })
        )
        const recent = Result.isSuccess(page) ? page.success.messages : []
        const said = recent.filter(({ deletedAt }) => deletedAt === null)
        const shown = text.slice(0, maxDocument).toWellFormed()
        return {
          prompt: prompt.body,
          user: prompt.author,
          document: { name, version, text: shown, cut: text.length > maxDocument },
          messages: said.map(({ at, author, body, kind }) => ({ author, kind, body, at })),
          // The same as models take it, for a definition's `body`. Texts of members never get the role `system`.
          chat: [
            ...(shown === ""
              ? []
              : [{ role: "user", content: `The document "${name}" that all here work on:\n${shown}` }]),
            ...said.map(({ author, body, kind }) =>
              kind === "response"
                ? { role: "assistant", content: body }
                : { role: "user", content: `${author}: ${body}` }
            ),
            { role: "user", content: `${prompt.author}: ${prompt.body}` }
          ]
        }
      })

      const produce = Effect.fnUntraced(function* (target: Target, prompt: Message) {
        const input = yield* gather(prompt)
        return yield* deltas.publishing(prompt.roomId, responseIdOf(prompt), (onText) =>
          fetch.text(target, input, JSON.stringify(input), { maxCharacters: maxBody, onText })
        )
      })

      /** Never succeeds. Fails when the user may no longer write in the room, or the prompt was deleted or edited. */
      const whileAsked = (prompt: Message) =>
        Effect.andThen(access.require(prompt.roomId, prompt.author, "member"), prompts.check(prompt)).pipe(
          Effect.delay(checkEvery),
          Effect.catchTag("StorageUnavailable", () => Effect.void),
          Effect.forever
        )

      const run = Effect.fnUntraced(function* (target: Target, opened: Opened, cancelledBefore: string | undefined) {
        const { isNew, prompt } = opened
        const { messageId, roomId } = prompt
        const before = yield* prompts.find(prompt)
        if (before !== undefined) {
          ended("known").add()
          return before
        }
        const end = (reason: string) =>
          deltas.ended(roomId, { messageId: responseIdOf(prompt), promptId: messageId, reason })
        if (!isNew) yield* end("Restarted")
        const producing = cancellation.unlessCancelled(
          messageId,
          Effect.raceFirst(produce(target, prompt), whileAsked(prompt)),
          new GenerationCancelled({ messageId }),
          cancelledBefore
        )
        const store = (text: string) =>
          Effect.retry(prompts.answer(prompt, text), {
            times: 2,
            schedule: Schedule.spaced("200 millis"),
            while: ({ _tag }) => _tag === "StorageUnavailable"
          })
        return yield* Effect.uninterruptibleMask((restore) => Effect.flatMap(restore(producing), store)).pipe(
          Effect.onExit((exit) => {
            const reason = Exit.isSuccess(exit) ? "answered" : reasonOf(exit.cause)
            ended(reason).add()
            return Exit.isSuccess(exit) ? Effect.void : end(reason)
          })
        )
      })

      return Generation.of({
        generate: Effect.fn("Generation.generate")(function* (user, asked, inOrder) {
          const begin = Effect.gen(function* () {
            yield* access.require(asked.roomId, user, "member")
            const target = yield* lookup.get("generate", user)
            yield* takeModelRate(user)
            return { target, ...(yield* prompts.open(user, asked)) }
          })
          return yield* places.within(
            user,
            Effect.gen(function* () {
              const { target, ...opened } = yield* inOrder(begin)
              const { isNew, prompt } = opened
              const { messageId } = prompt
              // A cancel from before is for the generation that ran then, which may not have seen it yet.
              const cancelledBefore = isNew ? undefined : yield* cancellation.latest(messageId)
              // Callers may share one message: each waits for itself.
              const waiter = Symbol(messageId)
              waiting.add(waiter)
              const over = Effect.sync(() => waiting.delete(waiter))
              const running = Effect.andThen(over, run(target, opened, cancelledBefore))
              return yield* locks.withAdvisoryLock(`generate:${messageId}`, lockOptions, running).pipe(
                Effect.catchTag("LockBusy", () => Effect.fail(new GenerationBusy({ messageId }))),
                Effect.ensuring(over)
              )
            })
          )
        }),
        cancel: Effect.fn("Generation.cancel")(function* (user, roomId, messageId) {
          const { session } = yield* access.member(roomId, user)
          const prompt = yield* store.find(roomId, messageId)
          if (prompt?.kind !== "prompt" || (prompt.author !== user && session.role !== "owner")) {
            return yield* new MessageNotFound()
          }
          yield* cancellation.cancel(messageId)
        })
      })
    })
  )
}
