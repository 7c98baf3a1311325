// The sample catalog: `weather`, answered by the built-in sample upstream, or by OpenWeatherMap when its key is in the
// environment; and `generate`, `analyze` and `assign` for the assistant, with the sample upstream in place of a model.
import { Config, Effect, Fiber, Layer, Option } from "effect"
import { CatalogStore } from "../CatalogStore.ts"

const weather = (origin: string) => ({
  url: `${origin}/data/2.5/weather`,
  method: "GET",
  query: {
    q: "{input.city}",
    units: "metric",
    appid: origin.startsWith("https") ? "{secret.OPENWEATHER_KEY}" : "sample"
  },
  result: {
    city: "/name",
    temperature: "/main/temp",
    feels_like: "/main/feels_like",
    description: "/weather/0/description",
    humidity: "/main/humidity"
  },
  errors: { "400": "{/message}", "401": "Invalid API key", "404": "City not found" }
})

const assistant = {
  generate: { url: "http://sample.localhost/generate", timeoutMs: 60_000 },
  analyze: { url: "http://sample.localhost/analyze", timeoutMs: 10_000 },
  assign: { url: "http://sample.localhost/assign", timeoutMs: 10_000 }
}

/** Written in the background, as soon as the store can be used. */
export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const store = yield* CatalogStore
    const key = yield* Config.option(Config.Redacted("INTEGRATION_SECRET_OPENWEATHER_KEY"))
    const origin = Option.isSome(key) ? "https://api.openweathermap.org" : "http://sample.localhost"
    const samples = Object.entries({ weather: weather(origin), ...assistant })
    const putAll = Effect.forEach(samples, ([name, definition]) => store.putSample(name, definition), { discard: true })
    const put = Effect.andThen(store.ready, putAll).pipe(
      Effect.retry({ times: 10 }),
      Effect.catch((error) => Effect.logWarning("the sample catalog was not written", error))
    )
    // The start waits a second, so that a first call works; not longer, because Postgres may be away.
    const fiber = yield* Effect.forkScoped(put)
    yield* Effect.timeoutOption(Fiber.await(fiber), "1 second")
  })
)
