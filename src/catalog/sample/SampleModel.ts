// The sample upstream's stand-in for a model, so that the assistant works without a key: `/generate` answers a prompt
// as an event stream, some words at a time; `/analyze` counts and advises; `/assign` sorts messages by the words they
// share with titles. `?delayMs=` is the pause before the answer, and between the words.
import type { ServerResponse } from "node:http"
import { Option, Schema } from "effect"

const Prompt = Schema.Struct({
  prompt: Schema.String,
  document: Schema.optionalKey(Schema.Struct({ text: Schema.String })),
  messages: Schema.optionalKey(Schema.Array(Schema.Unknown))
})
const Draft = Schema.Struct({ text: Schema.String })
const Assignable = Schema.Struct({
  message: Schema.Struct({ body: Schema.String }),
  threads: Schema.Array(Schema.Struct({ threadId: Schema.String, title: Schema.String }))
})

const wordsAtOnce = 3
const usualDelayMs = 30

const words = (text: string) => text.match(/[\p{L}\p{N}\u2019'-]+/gu) ?? []
const long = (text: string) => new Set(words(text.toLowerCase()).filter((word) => word.length > 3))

const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}

type Answer = (text: string, response: ServerResponse, delayMs: number) => void

/** Answers the `input` of a request, or 400 when it has another form. */
const to = <A>(
  input: Schema.ConstraintDecoder<A>,
  missing: string,
  answer: (input: A, response: ServerResponse, delayMs: number) => void
): Answer => {
  const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ input })))
  return (text, response, delayMs) => {
    const asked = decode(text)
    if (Option.isSome(asked)) answer(asked.value.input, response, delayMs)
    else json(response, { message: `no ${missing}` }, 400)
  }
}

const generate = to(Prompt, "prompt", ({ document, messages = [], prompt }, response, delayMs) => {
  const answer =
    `You asked: ${prompt.slice(0, 500)} There are ${messages.length} messages before that, and ` +
    `${words(document?.text ?? "").length} words in the document. A real model would say more.`
  const pieces = answer.match(new RegExp(`(\\S+\\s*){1,${wordsAtOnce}}`, "g")) ?? []
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" })
  let next = 0
  const more = setInterval(() => {
    const piece = pieces[next++]
    if (piece !== undefined) return void response.write(`data: ${JSON.stringify({ text: piece })}\n\n`)
    clearInterval(more)
    response.end("data: [DONE]\n\n")
  }, delayMs)
  response.once("close", () => clearInterval(more))
})

const analyze = to(Draft, "text", ({ text: draft }, response) => {
  const sentences = draft.split(/[.!?]+/).filter((part) => part.trim() !== "")
  const longest = Math.max(0, ...sentences.map((sentence) => words(sentence).length))
  const isLoud = draft.includes("!!") || (draft.length > 8 && draft === draft.toUpperCase() && /\p{Lu}/u.test(draft))
  const suggestions = [
    ...(longest > 25 ? ["Split the longest sentence."] : []),
    ...(isLoud ? ["Say it more calmly."] : []),
    ...(draft.length < 400 || draft.includes("\n") ? [] : ["Make paragraphs of it."])
  ]
  json(response, {
    words: words(draft).length,
    sentences: sentences.length,
    tone: isLoud ? "loud" : "calm",
    suggestions
  })
})

const assign = to(Assignable, "message", ({ message, threads }, response) => {
  const said = long(message.body)
  const shared = threads.map(({ threadId, title }) => ({
    threadId,
    count: [...long(title)].filter((word) => said.has(word)).length
  }))
  const best = shared.toSorted((a, b) => b.count - a.count)[0]
  if (best !== undefined && best.count > 0) return json(response, { threadId: best.threadId })
  const title = words(message.body).slice(0, 5).join(" ").slice(0, 200)
  json(response, title === "" ? {} : { title, category: message.body.includes("?") ? "questions" : "talk" })
})

const later =
  (answer: Answer): Answer =>
  (text, response, delayMs) => {
    const timer = setTimeout(() => answer(text, response, delayMs), delayMs)
    response.once("close", () => clearTimeout(timer))
  }

const answers = { "/generate": generate, "/analyze": later(analyze), "/assign": later(assign) }

export const isModel = (path: string): path is keyof typeof answers => Object.hasOwn(answers, path)

/** `text`: the body of the request. */
export const sampleModel = (url: URL, text: string, response: ServerResponse): void => {
  if (!isModel(url.pathname)) return
  const asked = Number(url.searchParams.get("delayMs") ?? usualDelayMs)
  const delayMs = Math.min(60_000, Math.max(1, Number.isFinite(asked) ? asked : usualDelayMs))
  answers[url.pathname](text, response, delayMs)
}
