// The health of a store. A store that is away may return, and is waited for. A store that is misconfigured (a wrong
// password, a database that does not exist) stays so until an operator acts: at the start that is fatal, later it is
// logged as an error.
import { Effect, Schema } from "effect"

export type StoreHealth =
  | { readonly state: "up" }
  | { readonly state: "away"; readonly reason: string }
  /** An operator has to act. `loses`: data that is acknowledged now may be lost. */
  | { readonly state: "misconfigured"; readonly reason: string; readonly loses: boolean }

export const up: StoreHealth = { state: "up" }

/** Stops the start: a setting names a store that can't be used. */
export class StoreMisconfigured extends Schema.TaggedError<StoreMisconfigured>()("StoreMisconfigured", {
  setting: Schema.String,
  /** The URL, without its password. */
  url: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `${this.setting}=${this.url} does not work, and waiting does not help: ${this.reason}`
  }
}

/** Comma-separated URLs without passwords, and without parameters, which may be secrets. */
export const withoutSecrets = (urls: string): string =>
  urls
    .split(",")
    .map((url) => {
      if (!URL.canParse(url.trim())) return "<hidden>"
      const { host, password, pathname, protocol, username } = new URL(url.trim())
      const user = username === "" && password === "" ? "" : `${username}${password === "" ? "" : ":<hidden>"}@`
      return `${protocol}//${user}${host}${pathname}`
    })
    .join(",")

/** Holds a store's health, and logs each change once. */
export const makeHealth = (name: string, setting: string, initial: StoreHealth) => {
  let health = initial
  return {
    now: () => health,
    set: (next: StoreHealth): Effect.Effect<void> =>
      Effect.suspend(() => {
        const before = health
        health = next
        if (next.state === "up") return before.state === "up" ? Effect.void : Effect.logInfo(`${name} is up`)
        if (next.state === before.state) return Effect.void
        return next.state === "away"
          ? Effect.logWarning(`${name} is away`, { reason: next.reason })
          : Effect.logError(`${name} does not work, and waiting does not help: ${next.reason}`, { setting })
      })
  }
}

const certificateFaults = new Set([
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
])

/** Why a TLS handshake will fail again; undefined if it may not. */
export const tlsFault = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || !("code" in error)) return undefined
  const code = String(error.code)
  if (certificateFaults.has(code)) return `the server's certificate is not trusted (${code}): ${error.message}`
  return code.startsWith("ERR_SSL_") || code === "EPROTO" ? `the TLS handshake fails (${code})` : undefined
}
