// The OpenRPC document over HTTP, for tools that read it before they connect.
import { Effect } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { openRpcDocument } from "../protocol/OpenRpc.ts"

export const layer = HttpRouter.use((router) =>
  router.add("GET", "/openrpc.json", Effect.succeed(HttpServerResponse.jsonUnsafe(openRpcDocument)))
)
