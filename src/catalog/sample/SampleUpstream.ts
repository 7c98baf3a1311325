// The built-in upstream of the sample catalog: OpenWeatherMap's current-weather JSON for a few cities, a stand-in for
// a model (SampleModel.ts), and `/echo`.
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Layer } from "effect"
import { LocalHosts } from "../../infra/http/LocalHosts.ts"
import { isModel, sampleModel } from "./SampleModel.ts"

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

const answer = (response: ServerResponse, status: number, body: string) => {
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
  response.end(body)
}

const withBody = (request: IncomingMessage, use: (text: string) => void) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => use(Buffer.concat(chunks).toString()))
}

export const sampleUpstream: RequestListener = (request, response) => {
  const url = new URL(request.url ?? "/", "http://sample")
  if (url.pathname === "/echo") return withBody(request, (text) => answer(response, 200, text))
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
