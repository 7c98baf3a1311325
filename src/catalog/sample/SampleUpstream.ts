// The built-in upstream of the sample catalog: OpenWeatherMap's current-weather JSON for a few cities, a stand-in for
// a model (SampleModel.ts), and `/echo`.
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Layer } from "effect"
import { LocalHosts } from "../../infra/http/LocalHosts.ts"
import { isModel, sampleModel } from "./SampleModel.ts"

interface City {
  readonly id: number
  readonly country: string
  readonly lat: number
  readonly lon: number
  readonly celsius: number
  readonly humidity: number
  readonly sky: string
}

const cities: Readonly<Record<string, City>> = {
  London: { id: 2643743, country: "GB", lat: 51.5085, lon: -0.1257, celsius: 14.2, humidity: 81, sky: "light rain" },
  Paris: { id: 2988507, country: "FR", lat: 48.8534, lon: 2.3488, celsius: 17.8, humidity: 64, sky: "few clouds" },
  Berlin: { id: 2950159, country: "DE", lat: 52.5244, lon: 13.4105, celsius: 15.1, humidity: 70, sky: "broken clouds" },
  Madrid: { id: 3117735, country: "ES", lat: 40.4165, lon: -3.7026, celsius: 26.4, humidity: 32, sky: "clear sky" },
  Rome: { id: 3169070, country: "IT", lat: 41.8947, lon: 12.4839, celsius: 24, humidity: 55, sky: "clear sky" },
  Vienna: {
    id: 2761369,
    country: "AT",
    lat: 48.2085,
    lon: 16.3721,
    celsius: 18.9,
    humidity: 60,
    sky: "scattered clouds"
  },
  Oslo: { id: 3143244, country: "NO", lat: 59.9127, lon: 10.7461, celsius: 9.3, humidity: 76, sky: "overcast clouds" },
  Lisbon: { id: 2267057, country: "PT", lat: 38.7167, lon: -9.1333, celsius: 22.7, humidity: 58, sky: "clear sky" },
  Tokyo: { id: 1850144, country: "JP", lat: 35.6895, lon: 139.6917, celsius: 21.5, humidity: 68, sky: "few clouds" },
  Sydney: { id: 2147714, country: "AU", lat: -33.8679, lon: 151.2073, celsius: 19.6, humidity: 62, sky: "clear sky" },
  "New York": { id: 5128581, country: "US", lat: 40.7143, lon: -74.006, celsius: 16.4, humidity: 57, sky: "mist" },
  "São Paulo": {
    id: 3448439,
    country: "BR",
    lat: -23.5475,
    lon: -46.6361,
    celsius: 23.3,
    humidity: 73,
    sky: "moderate rain"
  }
}

const byName = new Map(Object.entries(cities).map(([name, city]) => [name.toLowerCase(), { name, ...city }]))

const inUnits = (celsius: number, units: string | null) => {
  const value = units === "metric" ? celsius : units === "imperial" ? celsius * 1.8 + 32 : celsius + 273.15
  return Math.round(value * 100) / 100
}

const weather = (query: URLSearchParams): readonly [number, unknown] => {
  const q = query.get("q")
  if (q === null || q.trim() === "") return [400, { cod: "400", message: "Nothing to geocode" }]
  const city = byName.get(q.split(",", 1).join("").trim().toLowerCase())
  if (city === undefined) return [404, { cod: "404", message: "city not found" }]
  const degrees = (offset: number) => inUnits(city.celsius + offset, query.get("units"))
  return [
    200,
    {
      coord: { lon: city.lon, lat: city.lat },
      weather: [{ id: 800, main: "Weather", description: city.sky, icon: "01d" }],
      base: "stations",
      main: {
        temp: degrees(0),
        feels_like: degrees(-0.6),
        temp_min: degrees(-1.5),
        temp_max: degrees(1.8),
        pressure: 1015,
        humidity: city.humidity
      },
      visibility: 10_000,
      wind: { speed: 3.6, deg: 240 },
      clouds: { all: 40 },
      dt: Math.floor(Date.now() / 1000),
      sys: { country: city.country },
      timezone: 0,
      id: city.id,
      name: city.name,
      cod: 200
    }
  ]
}

const answer = (response: ServerResponse, status: number, body: string) => {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  response.end(body)
}

const withBody = (request: IncomingMessage, use: (text: string) => void) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => use(Buffer.concat(chunks).toString()))
}

const echo = (request: IncomingMessage, response: ServerResponse) =>
  withBody(request, (text) => answer(response, 200, text))

export const sampleUpstream: RequestListener = (request, response) => {
  const url = new URL(request.url ?? "/", "http://sample")
  if (url.pathname === "/echo") return echo(request, response)
  if (isModel(url.pathname)) return withBody(request, (text) => sampleModel(url, text, response))
  if (url.pathname !== "/data/2.5/weather") return answer(response, 404, '{"cod":"404","message":"not found"}')
  const [status, body] = weather(url.searchParams)
  answer(response, status, JSON.stringify(body))
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
