// The cheapest possible integration: reads the request, always answers the same small JSON.
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const body = Buffer.from('{"city":"London","temperature":14.2,"description":"light rain","humidity":81}')
const headers = { "content-type": "application/json", "content-length": body.length }
const latency = Number(process.env["LATENCY"] ?? "0")

const server = createServer((request, response) => {
  request.resume()
  const answer = () => response.writeHead(200, headers).end(body)
  if (latency > 0) setTimeout(answer, latency)
  else answer()
})
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}/run`)
})
