// The operators' API on the router, its description at /openapi.json, and a page of it at /docs that needs no network.
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpRouter, ProblemDetails } from "effect/http"
import { HttpApiBuilder, HttpApiScalar } from "effect/http-api"
import { AdminApi } from "./AdminApi.ts"

const notFound = ProblemDetails.toResponse({ type: "about:blank", title: "Not Found", status: 404 })

// The page brings 14 MB into the process: it is made when somebody asks for it.
const docs = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const page = yield* Effect.cached(
      Effect.gen(function* () {
        const inner = yield* HttpRouter.make
        const scalar = HttpApiScalar.layer(AdminApi, { path: "/docs", scalar: { withDefaultFonts: false } })
        yield* Layer.build(scalar).pipe(Effect.provideService(HttpRouter.HttpRouter, inner), Effect.scoped)
        return Effect.orDie(inner.asHttpEffect())
      })
    )
    yield* router.add("GET", "/docs", Effect.flatten(page))
  })
)

export const layer = Layer.mergeAll(
  HttpApiBuilder.layer(AdminApi, { openapiPath: "/openapi.json" }),
  docs,
  HttpRouter.use((router) => router.add("*", "/admin/*", Effect.succeed(notFound)))
).pipe(Layer.provide(NodeHttpServer.layerHttpServices))
