// The built-in upstream of the sample catalog: OpenWeatherMap's current-weather JSON for a few cities, `/echo`, and a
// stand-in for a model, so that the assistant works without a key: `/generate` answers a prompt as an event stream,
// some words at a time; `/analyze` counts and advises; `/assign` sorts messages by the words they share with titles.
// `?delayMs=` is the pause before the model's answer, and between the words.
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Layer, Option, Schema } from "effect"
import { LocalHosts } from "../../infra/http/LocalHosts.ts"

type City = readonly [
  id: number,
  country: string,
  lat: number,
  lon: number,
  celsius: number,
  humidity: number,
  sky: string
]

const cities: Readonly<Record<string, City>> = {
  London: [2643743, "GB", 51.5085, -0.1257, 14.2, 81, "light rain"],
  Paris: [2988507, "FR", 48.8534, 2.3488, 17.8, 64, "few clouds"],
  Berlin: [2950159, "DE", 52.5244, 13.4105, 15.1, 70, "broken clouds"],
  Madrid: [3117735, "ES", 40.4165, -3.7026, 26.4, 32, "clear sky"],
  Rome: [3169070, "IT", 41.8947, 12.4839, 24, 55, "clear sky"],
  Vienna: [2761369, "AT", 48.2085, 16.3721, 18.9, 60, "scattered clouds"],
  Oslo: [3143244, "NO", 59.9127, 10.7461, 9.3, 76, "overcast clouds"],
  Lisbon: [2267057, "PT", 38.7167, -9.1333, 22.7, 58, "clear sky"],
  Tokyo: [1850144, "JP", 35.6895, 139.6917, 21.5, 68, "few clouds"],
  Sydney: [2147714, "AU", -33.8679, 151.2073, 19.6, 62, "clear sky"],
  "New York": [5128581, "US", 40.7143, -74.006, 16.4, 57, "mist"],
  "São Paulo": [3448439, "BR", -23.5475, -46.6361, 23.3, 73, "moderate rain"]
}

const byName = new Map(Object.entries(cities).map(([name, city]) => [name.toLowerCase(), [name, ...city] as const]))

const inUnits = (celsius: number, units: string | null) => {
  const value = units === "metric" ? celsius : units === "imperial" ? celsius * 1.8 + 32 : celsius + 273.15
  return Math.round(value * 100) / 100
}

const weather = (query: URLSearchParams): readonly [number, unknown] => {
  const q = query.get("q")
  if (q === null || q.trim() === "") return [400, { cod: "400", message: "Nothing to geocode" }]
  const city = byName.get(q.split(",", 1).join("").trim().toLowerCase())
  if (city === undefined) return [404, { cod: "404", message: "city not found" }]
  const [name, id, country, lat, lon, celsius, humidity, sky] = city
  const degrees = (offset: number) => inUnits(celsius + offset, query.get("units"))
  return [
    200,
    {
      coord: { lon, lat },
      weather: [{ id: 800, main: "Weather", description: sky, icon: "01d" }],
      base: "stations",
      main: {
        temp: degrees(0),
        feels_like: degrees(-0.6),
        temp_min: degrees(-1.5),
        temp_max: degrees(1.8),
        pressure: 1015,
        humidity
      },
      visibility: 10_000,
      wind: { speed: 3.6, deg: 240 },
      clouds: { all: 40 },
      dt: Math.floor(Date.now() / 1000),
      sys: { country },
      timezone: 0,
      id,
      name,
      cod: 200
    }
  ]
}

const answer = (response: ServerResponse, body: string, status = 200) => {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  response.end(body)
}
const json = (response: ServerResponse, body: unknown, status?: number) =>
  answer(response, JSON.stringify(body), status)

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

const model = { "/generate": generate, "/analyze": later(analyze), "/assign": later(assign) }

const isModel = (path: string): path is keyof typeof model => Object.hasOwn(model, path)

const withBody = (request: IncomingMessage, use: (text: string) => void) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => use(Buffer.concat(chunks).toString()))
}

export const sampleUpstream: RequestListener = (request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://sample")
  if (pathname === "/echo") return withBody(request, (text) => answer(response, text))
  if (isModel(pathname)) {
    const asked = Number(searchParams.get("delayMs") ?? usualDelayMs)
    const delayMs = Math.min(60_000, Math.max(1, Number.isFinite(asked) ? asked : usualDelayMs))
    return withBody(request, (text) => model[pathname](text, response, delayMs))
  }
  if (pathname !== "/data/2.5/weather") return json(response, { cod: "404", message: "not found" }, 404)
  const [status, body] = weather(searchParams)
  json(response, body, status)
}

/** Listens on a free port of 127.0.0.1, under the name `sample.localhost` within this process. */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const hosts = yield* LocalHosts
    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const made = createServer(sampleUpstream)
        made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
      }),
      (listening) =>
        Effect.callback<void>((resume) => {
          listening.close(() => resume(Effect.void))
          listening.closeAllConnections()
        })
    )
    hosts.register("sample.localhost", (server.address() as AddressInfo).port)
  })
)
