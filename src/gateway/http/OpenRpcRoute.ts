// The OpenRPC document over HTTP, for tools that read it before they connect.
import { HttpRouter } from "effect/http"
import { staticPage } from "../../infra/http/StaticPage.ts"
import { openRpcDocument } from "../../protocol/OpenRpc.ts"

export const layer = HttpRouter.use((router) =>
  router.add("GET", "/openrpc.json", staticPage(JSON.stringify(openRpcDocument), "application/json"))
)
