// The routes of the operators' API and of its description: /openapi.json, public and cheap; and /docs, a page of 3 MB
// that loads nothing from elsewhere. The page is public in development. Otherwise it needs the admin token: as a bearer
// or as the password of Basic authentication, which /admin itself refuses, so that no page can use it there.
import { createHash } from "node:crypto"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, ProblemDetails } from "effect/http"
import { HttpApiBuilder, HttpApiScalar, HttpApiSecurity, OpenApi } from "effect/http-api"
import { staticPage } from "../infra/http/StaticPage.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { AdminApi } from "./AdminApi.ts"
import { AdminGuard } from "./AdminGuard.ts"

// Operators type the admin token into the page: only its own scripts run, they connect to this service only, and no
// other page may frame it.
const policyOf = (html: string) => {
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
    ([, script = ""]) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`
  )
  return [
    "default-src 'none'",
    `script-src ${scripts.join(" ")}`,
    "style-src 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src blob:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'"
  ].join("; ")
}

// The page takes 14 MB of memory: it is made at the first request.
const makePage = Effect.gen(function* () {
  const inner = yield* HttpRouter.make
  const scalar = HttpApiScalar.layer(AdminApi, { path: "/docs", scalar: { withDefaultFonts: false } })
  yield* Layer.build(scalar).pipe(Effect.provideService(HttpRouter.HttpRouter, inner), Effect.scoped)
  const { body } = yield* Effect.orDie(inner.asHttpEffect())
  const html = body._tag === "Uint8Array" ? Buffer.from(body.body).toString() : ""
  return staticPage(html, "text/html; charset=utf-8", {
    "content-security-policy": policyOf(html),
    "referrer-policy": "no-referrer"
  })
})

const credentialOf = Effect.gen(function* () {
  const bearer = yield* HttpApiBuilder.securityDecode(HttpApiSecurity.bearer)
  if (Redacted.value(bearer) !== "") return bearer
  return (yield* HttpApiBuilder.securityDecode(HttpApiSecurity.basic)).password
})

const notFound = ProblemDetails.toResponse({ type: "about:blank", title: "Not Found", status: 404 })

const pages = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const guard = yield* AdminGuard
    const isOpen = isDevelopment(yield* Settings)
    const page = yield* Effect.cached(makePage)
    yield* router.add(
      "GET",
      "/docs",
      Effect.gen(function* () {
        const refusal = isOpen ? undefined : yield* guard.refusal(yield* credentialOf, 'Basic realm="hotpath"')
        return refusal ?? (yield* yield* page)
      })
    )
    yield* router.add("*", "/admin/*", Effect.succeed(notFound))
    yield* router.add("GET", "/openapi.json", staticPage(JSON.stringify(OpenApi.fromApi(AdminApi)), "application/json"))
  })
)

export const layer = Layer.merge(pages, Layer.provide(HttpApiBuilder.layer(AdminApi), NodeHttpServer.layerHttpServices))
