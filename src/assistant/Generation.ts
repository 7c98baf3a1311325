// A generated answer to a prompt, from the `generate` integration: prompt and response are messages of the room, and what
// arrives before the response is whole is told as it comes. One prompt has one generation at a time, over all instances (a
// lock), and one response, ever. Whoever asks for the same while it runs waits a while for it, and gets what it brings. A lock
// that can't be kept ends nothing: then two may run, and the response that is kept first is the one of both.
//
// asked → (a place, the prompt kept) → (the lock) → generating → kept: answered. It ends without a response when the
// integration fails, when somebody cancels it, deletes the prompt or changes its words, when the asking connection closes or its
// user loses the room: then the connection to the integration is closed, the room is told, and the prompt stays, unanswered. Once the text is whole,
// keeping it is not interrupted any more. A prompt that is taken up again begins anew: the room is told that first, since nobody
// told the end of what an instance that was killed had said.
import { Cause, Context, Effect, Exit, Layer, Option, Result, Schedule } from "effect"
import type { FetchError, Target } from "../calls/fetch/Exchange.ts"
import { Fetch } from "../calls/fetch/Fetch.ts"
import { Lookup } from "../calls/Lookup.ts"
import { Locks } from "../cluster/locks/Locks.ts"
import { GenerationBusy, GenerationCancelled } from "../domain/Generation.ts"
import type { IntegrationNotFound } from "../domain/Integration.ts"
import { type Message, MessageNotFound, maxBody, type ThreadNotFound } from "../domain/Message.ts"
import type { RateLimited } from "../domain/Overload.ts"
import { everyone, writers } from "../domain/Room.ts"
import type { ConfigUnavailable } from "../domain/UserConfig.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Access, type AccessError } from "../rooms/Access.ts"
import { Settings } from "../Settings.ts"
import { Repository, type WriteRefused } from "../storage/rooms/Repository.ts"
import { Cancellation } from "./Cancellation.ts"
import { Deltas } from "./Deltas.ts"
import { ModelRate } from "./ModelRate.ts"
import { makePlaces } from "./Places.ts"
import { type Answered, type Asked, type Opened, Prompts, responseIdOf } from "./Prompts.ts"

export type GenerateError =
  | IntegrationNotFound
  | ConfigUnavailable
  | FetchError
  | WriteRefused
  | ThreadNotFound
  | MessageNotFound
  | GenerationBusy
  | GenerationCancelled
  | RateLimited

/** What goes along with a prompt: messages of the room before it, and characters of its document. */
const recentMessages = 20
const maxDocument = 100_000
/** A generation whose instance was killed is nobody's after `ttl`; a retry waits a little longer than that. */
const lockOptions = { ttl: "5 seconds", wait: "8 seconds" } as const
/** How often it is looked at whether its user may still write in the room, and the prompt is as it was. */
const lookEvery = "1 second"

const reasonOf = (cause: Cause.Cause<{ readonly _tag: string }>): string =>
  Option.match(Cause.findErrorOption(cause), { onNone: () => "Interrupted", onSome: ({ _tag }) => _tag })

export class Generation extends Context.Service<
  Generation,
  {
    /** `inTurn`: how the prompt is kept in the order of what else its connection writes. */
    readonly generate: (
      user: string,
      asked: Asked,
      inTurn: <A, E>(write: Effect.Effect<A, E>) => Effect.Effect<A, E>
    ) => Effect.Effect<Answered, GenerateError>
    /** By the prompt's author, or an owner of the room; what does not run, on whichever instance, stays as it is. */
    readonly cancel: (
      user: string,
      roomId: string,
      messageId: string
    ) => Effect.Effect<void, AccessError | WriteRefused | MessageNotFound>
  }
>()("hotpath/assistant/Generation") {
  static readonly layer = Layer.effect(
    Generation,
    Effect.gen(function* () {
      const access = yield* Access
      const cancels = yield* Cancellation
      const deltas = yield* Deltas
      const fetch = yield* Fetch
      const locks = yield* Locks
      const lookup = yield* Lookup
      const modelRate = yield* ModelRate
      const prompts = yield* Prompts
      const repository = yield* Repository
      const { MAX_GENERATIONS } = yield* Settings
      const { counters, gauge } = yield* Metrics
      const ended = counters("generations_total", "Generations, by how they ended", "outcome")
      const places = yield* makePlaces(MAX_GENERATIONS, "generations")
      const waiting = new Set<Message>()
      gauge("generations_waiting", "Generations whose prompt is being answered by an earlier one", () => waiting.size)
      gauge("generations_running", "Generations that hold a place", places.taken)

      /** What the integration is given; the room's words are data to it, not its caller's. */
      const gather = Effect.fnUntraced(function* ({ author, body, messageId, roomId }: Message) {
        const { name, text, version } = yield* repository.document(roomId)
        const page = yield* Effect.result(repository.messages(roomId, { before: messageId, limit: recentMessages }))
        const recent = Result.isSuccess(page) ? page.success.messages : []
        const said = recent.filter(({ deletedAt }) => deletedAt === null)
        const shown = text.slice(0, maxDocument).toWellFormed()
        return {
          prompt: body,
          user: author,
          document: { name, version, text: shown, cut: text.length > maxDocument },
          messages: said.map((message) => ({
            author: message.author,
            kind: message.kind,
            body: message.body,
            at: message.at
          })),
          // The same as models want it, for a definition's `body`. What members wrote is no system's word.
          chat: [
            ...(shown === ""
              ? []
              : [{ role: "user", content: `The document "${name}" that all here work on:\n${shown}` }]),
            ...said.map((message) =>
              message.kind === "response"
                ? { role: "assistant", content: message.body }
                : { role: "user", content: `${message.author}: ${message.body}` }
            ),
            { role: "user", content: `${author}: ${body}` }
          ]
        }
      })

      const produce = Effect.fnUntraced(function* (target: Target, prompt: Message) {
        const input = yield* gather(prompt)
        return yield* deltas.telling(prompt.roomId, responseIdOf(prompt), (onText) =>
          fetch.text(target, input, JSON.stringify(input), { maxCharacters: maxBody, onText })
        )
      })

      /** Never succeeds: fails when the user may write in the room no more, or the prompt is not what was asked. */
      const whileAsked = (
        prompt: Message
      ): Effect.Effect<never, WriteRefused | MessageNotFound | GenerationCancelled> => {
        const look = Effect.andThen(access.require(prompt.roomId, prompt.author, writers), prompts.look(prompt))
        return Effect.andThen(
          Effect.catchTag(Effect.delay(look, lookEvery), "StorageUnavailable", () => Effect.void),
          Effect.suspend(() => whileAsked(prompt))
        )
      }

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
        const producing = cancels.unlessCancelled(
          messageId,
          Effect.raceFirst(produce(target, prompt), whileAsked(prompt)),
          new GenerationCancelled({ messageId }),
          cancelledBefore
        )
        const keep = (text: string) =>
          Effect.retry(prompts.answer(prompt, text), {
            times: 2,
            schedule: Schedule.spaced("200 millis"),
            while: ({ _tag }) => _tag === "StorageUnavailable"
          })
        return yield* Effect.uninterruptibleMask((restore) => Effect.flatMap(restore(producing), keep)).pipe(
          Effect.onExit((exit) => {
            const reason = Exit.isSuccess(exit) ? "answered" : reasonOf(exit.cause)
            ended(reason).add()
            return Exit.isSuccess(exit) ? Effect.void : end(reason)
          })
        )
      })

      return Generation.of({
        generate: Effect.fn("Generation.generate")(function* (user, asked, inTurn) {
          const begin = Effect.gen(function* () {
            yield* access.require(asked.roomId, user, writers)
            const target = yield* lookup.get("generate", user)
            yield* modelRate.take(user)
            return { target, ...(yield* prompts.open(user, asked)) }
          })
          return yield* places.within(
            user,
            Effect.gen(function* () {
              const opened = yield* inTurn(begin)
              const { target, isNew, prompt } = opened
              const { messageId } = prompt
              // Who ran then may not have seen it yet.
              const cancelledBefore = isNew ? undefined : yield* cancels.latest(messageId)
              const busy = () => Effect.fail(new GenerationBusy({ messageId }))
              waiting.add(prompt)
              const over = Effect.sync(() => waiting.delete(prompt))
              return yield* locks
                .withAdvisoryLock(
                  `generate:${messageId}`,
                  lockOptions,
                  Effect.andThen(over, run(target, opened, cancelledBefore))
                )
                .pipe(Effect.catchTag("LockBusy", busy), Effect.ensuring(over))
            })
          )
        }),
        cancel: Effect.fn("Generation.cancel")(function* (user, roomId, messageId) {
          const { session } = yield* access.require(roomId, user, everyone)
          const prompt = yield* repository.message(roomId, messageId)
          if (prompt?.kind !== "prompt" || (prompt.author !== user && session.role !== "owner")) {
            return yield* new MessageNotFound()
          }
          yield* cancels.cancel(messageId)
        })
      })
    })
  )
}
