// Checks of every plain HTTP request before the router: the host name, and the spelling of the path. A proxy's rule for
// `/metrics` or `/admin` compares text, so no other spelling may lead there: the router takes exact paths (case,
// slashes), and whatever it would decode or cut off is refused here.
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http"
import { Slices } from "../connection/Slices.ts"
import type { HttpSockets } from "./HttpSockets.ts"
import { misdirected, type Origins } from "./Origins.ts"

/** Whether the part of a path that routes consist of is spelt literally; the rest may be percent-encoded. */
export const isLiteralPath = (url: string): boolean => {
  const [path = ""] = url.split("?", 1)
  if (!path.startsWith("/") || /[;#\\]/.test(path)) return false
  const [, first = "", second = ""] = path.split("/", 3)
  return !first.includes("%") && !(first === "admin" && second.includes("%"))
}

const answer = (response: ServerResponse, status: 403 | 404, title: string, detail: string) => {
  response.writeHead(status, { "content-type": "application/problem+json", connection: "close" })
  response.end(JSON.stringify({ type: "about:blank", title, status, detail }))
}

/**
 * Answers run in slices of the event loop, limited in time (Slices.ts): however many clients ask without a token, the
 * WebSockets are read in between.
 */
export const plainRequests = (origins: Origins, sockets: HttpSockets, handler: RequestListener) => {
  const slices = new Slices()
  return (request: IncomingMessage, response: ServerResponse): void => {
    if (!sockets.request(request, response)) return
    response.setHeader("x-content-type-options", "nosniff")
    if (!origins.isHostAllowed(request.headers.host)) return answer(response, 403, "Forbidden", misdirected)
    if (!isLiteralPath(request.url ?? "")) return answer(response, 404, "Not Found", "there is nothing at this path")
    const nextSlice = () => {
      if (!request.socket.destroyed) handler(request, response)
    }
    slices.add({ nextSlice })
  }
}
