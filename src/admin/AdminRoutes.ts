// Mounts the operators' API on the router.
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpRouter, ProblemDetails } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { AdminApi } from "./AdminApi.ts"

const notFound = ProblemDetails.toResponse({ type: "about:blank", title: "Not Found", status: 404 })

export const layer = Layer.mergeAll(
  HttpApiBuilder.layer(AdminApi),
  HttpRouter.use((router) => router.add("*", "/admin/*", Effect.succeed(notFound)))
).pipe(Layer.provide(NodeHttpServer.layerHttpServices))
