// The operators' API on the router, its description at /openapi.json, and a page of it at /docs that needs no network.
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpRouter, ProblemDetails } from "effect/http"
import { HttpApiBuilder, HttpApiScalar } from "effect/http-api"
import { AdminApi } from "./AdminApi.ts"

const notFound = ProblemDetails.toResponse({ type: "about:blank", title: "Not Found", status: 404 })

export const layer = Layer.mergeAll(
  HttpApiBuilder.layer(AdminApi, { openapiPath: "/openapi.json" }),
  HttpApiScalar.layer(AdminApi, { path: "/docs", scalar: { withDefaultFonts: false } }),
  HttpRouter.use((router) => router.add("*", "/admin/*", Effect.succeed(notFound)))
).pipe(Layer.provide(NodeHttpServer.layerHttpServices))
