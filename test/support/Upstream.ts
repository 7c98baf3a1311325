// An integration that does as its path says: answers, waits, fails, or misbehaves.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"

const body = async (request: IncomingMessage) => {
  let text = ""
  for await (const chunk of request) text += chunk
  return text
}

export interface Upstream {
  readonly origin: string
  /** Paths of the requests that came, in order. */
  readonly seen: ReadonlyArray<string>
  readonly openRequests: () => number
  /** Lets the requests go that wait at /gate. */
  readonly release: () => void
  readonly stop: () => Promise<void>
}

export const startUpstream = async (): Promise<Upstream> => {
  const seen: Array<string> = []
  const sockets = new Set<Socket>()
  const gated: Array<() => void> = []
  let open = 0

  const endless = (response: ServerResponse, status = 200) => {
    response.writeHead(status)
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
    }
    response.on("drain", more)
    more()
  }

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://upstream")
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value))
    }
    const text = await body(request)
    switch (url.pathname) {
      case "/echo":
        return json(200, JSON.parse(text))
      case "/gate":
        gated.push(() => json(200, { ok: true }))
        return
      case "/hang":
        return
      case "/status/500":
        return json(500, {})
      case "/redirect":
        return response.writeHead(302, { location: "/echo" }).end()
      case "/garbage":
        return response.end("<html>")
      case "/deep":
        return response.end("[".repeat(5000) + "]".repeat(5000))
      case "/nul":
        return response.end('{"text":"a\\u0000b"}')
      case "/endless":
        return endless(response)
      case "/endless/503":
        return endless(response, 503)
      case "/sorry":
        return json(400, { error: { message: "city is\n missing" }, internal: "stack" })
      case "/ids":
        return response.end('{"id": 9223372036854775807}')
      case "/drip": {
        response.writeHead(200, { "content-type": "application/json" })
        response.write("[")
        const timer = setInterval(() => response.write(" "), 20)
        return void response.once("close", () => clearInterval(timer))
      }
      case "/parts":
        response.writeHead(200, { "content-type": "text/event-stream" })
        return response.write("data: one\n\n")
      case "/break":
        response.writeHead(200, { "content-length": "100" })
        response.write("{")
        return void setImmediate(() => request.socket.destroy())
      default:
        return json(200, { path: request.url, method: request.method, headers: request.headers })
    }
  }

  const server = createServer((request, response) => {
    seen.push(request.url ?? "")
    open++
    response.once("close", () => {
      open--
    })
    answer(request, response).catch(() => response.destroy())
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    openRequests: () => open,
    release: () => {
      for (const go of gated.splice(0)) go()
    },
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      })
  }
}
