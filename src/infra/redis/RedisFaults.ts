// Faults of a Redis connection that waiting does not mend, in words for an operator. Any other fault may pass.
import { connect as connectPlain, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { tlsFault } from "../StoreFault.ts"

const refusals: ReadonlyArray<readonly [RegExp, string]> = [
  [/^NOAUTH/, "it wants a password, and the URL has none (redis://:password@host)"],
  [/^WRONGPASS|invalid password/i, "the user or the password is wrong"],
  [/NOPERM/, "the user may not run the commands that are needed, or not on the keys and channels of REDIS_PREFIX"],
  [/AUTH.*(without any password|no password is set)/i, "the URL has a password, and the server has none"],
  [/DB index|SELECT is not allowed/i, "it has no database of the number in the URL"],
  [/cluster support disabled/i, "several URLs mean a Redis Cluster, and this server does not run as one"],
  [/^Protocol error/i, "the server there is not a Redis, or speaks TLS (rediss://)"]
]

// A Cluster's error wraps the last one of its nodes.
const innermost = (error: Error): Error =>
  "lastNodeError" in error && error.lastNodeError instanceof Error ? error.lastNodeError : error

export const reasonOf = (error: Error): string => innermost(error).message

/** Undefined: the fault may pass. */
export const lastingFault = (error: Error): string | undefined => {
  const inner = innermost(error)
  const found = refusals.find(([pattern]) => pattern.test(inner.message))?.[1]
  return found === undefined ? tlsFault(inner) : `${found} (Redis says: ${inner.message})`
}

const probeMs = 3000

const settled = (socket: Socket, isRight: (resolve: (right: boolean) => void) => void): Promise<boolean> =>
  new Promise<boolean>((resolve) => {
    isRight(resolve)
    // An answer may wait in the socket because this process was busy; it is read before setImmediate.
    socket.setTimeout(probeMs, () => setImmediate(resolve, false))
    socket.once("error", () => resolve(false))
    socket.once("close", () => resolve(false))
  }).finally(() => socket.destroy())

const speaksTls = (host: string, port: number) => {
  // No data is sent, so the certificate does not matter.
  const socket = connectTls({ host, port, rejectUnauthorized: false })
  return settled(socket, (resolve) => socket.once("secureConnect", () => resolve(true)))
}

const speaksPlain = (host: string, port: number) => {
  const socket = connectPlain({ host, port })
  socket.once("connect", () => socket.write("*1\r\n$4\r\nPING\r\n"))
  return settled(socket, (resolve) => socket.once("data", (bytes) => resolve(/^[+-]/.test(bytes.toString("latin1")))))
}

/**
 * A server that closes the connection or never answers may have been addressed with TLS and speak none, or the reverse;
 * ioredis can't say. Tries the other way once.
 */
export const tlsMismatch = async (url: string): Promise<string | undefined> => {
  const { hostname, port, protocol } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, "$1")
  const number = port === "" ? 6379 : Number(port)
  if (protocol === "rediss:") {
    return (await speaksPlain(host, number)) ? "the server speaks no TLS: write redis://" : undefined
  }
  return (await speaksTls(host, number)) ? "the server speaks TLS: write rediss://" : undefined
}
