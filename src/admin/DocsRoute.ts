// The description of the operators' API: as OpenAPI, open to all and cheap; and as a page of 3 MB at /docs that needs no
// network. The page is open in development; else it takes the admin token, as a bearer or, since a browser can't send
// one, as the password of Basic authentication (which /admin itself does not take, so that no page can use it there).
import { createHash } from "node:crypto"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder, HttpApiScalar, HttpApiSecurity, OpenApi } from "effect/http-api"
import { staticPage } from "../infra/http/StaticPage.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { AdminApi } from "./AdminApi.ts"
import { AdminGuard } from "./AdminGuard.ts"

// Operators type the admin token there: only the page's own scripts run, they talk to this service alone (what would send
// the description elsewhere can't), and no other page may frame it.
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

// It brings 14 MB into the process: it is made when somebody asks for it.
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

export const layer = HttpRouter.use((router) =>
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
    yield* router.add("GET", "/openapi.json", staticPage(JSON.stringify(OpenApi.fromApi(AdminApi)), "application/json"))
  })
)
