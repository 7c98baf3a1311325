// What a failed statement says about the connection to PostgreSQL, in words for an operator, and whether waiting helps.
import type { SqlError } from "effect/sql"
import { tlsFault } from "../StoreFault.ts"

export const sqlStateOf = (error: SqlError.SqlError): string => {
  const cause = error.reason.cause
  return typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
}

const causeMessage = ({ reason }: SqlError.SqlError): string =>
  reason.cause instanceof Error ? reason.cause.message : reason._tag

/** Faults that the client finds itself, known by their messages only. */
const ownFaults: ReadonlyArray<readonly [RegExp, string]> = [
  [/No password configured/, "the server wants a password, and the URL has none"],
  [/Server refused TLS/, "the server speaks no TLS, which the URL's sslmode wants"],
  [/Invalid SSLRequest response|protocol/i, "the server there is not a PostgreSQL"],
  [/Invalid connection URL|Unrecognized/, "the URL does not parse"]
]

/** The error's message, with its SQLSTATE. */
export const words = (error: SqlError.SqlError): string => {
  const state = sqlStateOf(error)
  return /^[0-9A-Z]{5}$/.test(state) ? `PostgreSQL says: ${causeMessage(error)} (${state})` : causeMessage(error)
}

/**
 * Undefined: the fault may pass. Those that do not: no such database (3D000), a wrong role or password (class 28), a
 * server that takes no writes (25006: a standby, or read-only), a certificate that is not trusted, and the like.
 */
export const lastingFault = (error: SqlError.SqlError): string | undefined => {
  const state = sqlStateOf(error)
  if (state === "3D000" || state === "25006" || /^28...$/.test(state)) return words(error)
  if (error.reason._tag !== "ConnectionError" && error.reason._tag !== "AuthenticationError") return undefined
  const tls = tlsFault(error.reason.cause)
  if (tls !== undefined) return tls
  return ownFaults.find(([pattern]) => pattern.test(error.reason.message ?? ""))?.[1]
}
