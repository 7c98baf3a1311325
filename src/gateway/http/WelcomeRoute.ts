// `GET /` describes the service and links to the rest: as a page for browsers, as JSON for other clients. `GET /ws`
// without an upgrade says what it is for. `/openrpc.json` is for tools that read it before they connect.
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { staticPage } from "../../infra/http/StaticPage.ts"
import { protocolVersion } from "../../protocol/methods/Methods.ts"
import { openRpcText } from "../../protocol/OpenRpc.ts"
import { isDevelopment, Settings } from "../../Settings.ts"

const about = "a realtime WebSocket backend: JSON-RPC 2.0 in text frames"

const links = [
  ["openrpc", "/openrpc.json", "the methods of the socket, as OpenRPC"],
  ["openapi", "/openapi.json", "the admin API, as OpenAPI"],
  ["docs", "/docs", "the admin API, to read and try"],
  ["livez", "/livez", "is the process alive"],
  ["readyz", "/readyz?verbose", "is it ready, and what works"],
  ["metrics", "/metrics", "Prometheus, or JSON with Accept: application/json"]
] as const

// The name is repeated in the page: only characters of a host name and a port are accepted.
const isPlainHost = /^[\w.:[\]-]+$/

const socketUrl = (headers: Readonly<Record<string, string | undefined>>) => {
  const host = headers["host"]
  if (host === undefined || !isPlainHost.test(host)) return "/ws"
  const outside = headers["x-forwarded-proto"]?.split(",")[0]?.trim().toLowerCase()
  return `${outside === "https" || outside === "wss" ? "wss" : "ws"}://${host}/ws`
}

const paths = Object.fromEntries(links.map(([name, path]) => [name, path]))

const page = (ws: string, identity: string) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>hotpath</title>
<h1>hotpath</h1>
<p>${about} on <code>${ws}</code> (${identity}).</p>
<ul>
${links.map(([, path, meaning]) => `<li><a href="${path}">${path}</a>: ${meaning}</li>`).join("\n")}
</ul></html>
`

const document = staticPage(openRpcText, "application/json")

const policy = { "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'" }

export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const identity = isDevelopment(yield* Settings)
      ? "?user=NAME says who you are: development"
      : "with a JWT: Authorization: Bearer, the subprotocols hotpath.1 and bearer.JWT, or ?token="
    yield* router.add(
      "GET",
      "/",
      Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => {
        const ws = socketUrl(headers)
        return headers["accept"]?.includes("text/html") === true
          ? HttpServerResponse.text(page(ws, identity), { contentType: "text/html; charset=utf-8", headers: policy })
          : HttpServerResponse.jsonUnsafe({
              service: "hotpath",
              about,
              protocol: protocolVersion,
              ws,
              identity,
              ...paths
            })
      })
    )
    const upgrade = HttpServerResponse.jsonUnsafe(
      { status: 426, title: "Upgrade Required", detail: "this is a WebSocket: connect with a WebSocket client" },
      { status: 426, contentType: "application/problem+json", headers: { upgrade: "websocket" } }
    )
    yield* router.add("GET", "/ws", Effect.succeed(upgrade))
    yield* router.add("GET", "/openrpc.json", document)
  })
)
