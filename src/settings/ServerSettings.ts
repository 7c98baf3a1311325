// The server: where it listens, what a socket may do, how it stops.
import { aDuration, count, duration, origins, port, setting, text, wholeNumber } from "./Setting.ts"

export const serverSettings = {
  HOST: setting(text, "127.0.0.1", "the address it listens on", "an address or a host name"),
  PORT: setting(port, "8080", "the port it listens on; 0 picks a free one and prints it", "a port, 0 to 65535"),
  ALLOWED_ORIGINS: setting(
    origins,
    "",
    "comma-separated origins a browser may connect from, besides the same origin (in development: any loopback origin)",
    "scheme://host[:port], comma-separated, or *; such as https://app.example,http://localhost:5173"
  ),
  MAX_CONNECTIONS: setting(count, "20000", "open sockets; beyond it the upgrade is answered 503", wholeNumber),
  MAX_HTTP_CONNECTIONS: setting(
    count,
    "5000",
    "TCP connections that are not (yet) a WebSocket; beyond it the one that has waited longest for a request is closed",
    wholeNumber
  ),
  PING_INTERVAL: setting(duration, "25 seconds", "how often a connection is pinged", aDuration),
  PONG_TIMEOUT: setting(
    duration,
    "10 seconds",
    "how long a pong may take before the connection is terminated",
    aDuration
  ),
  SHUTDOWN_DEADLINE: setting(duration, "25 seconds", "how long a graceful shutdown may take", aDuration)
}
