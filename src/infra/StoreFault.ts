// A store that is merely away comes back, and is waited for. One that refuses us (a wrong password, a database that does not
// exist) refuses us for good: that stops the start, and at any later time is said as an error, in words.
import { Effect, Schema } from "effect"

export type StoreHealth =
  | { readonly state: "up" }
  | { readonly state: "away"; readonly reason: string }
  /** Waiting does not help: an operator has to change something. `loses`: what is acknowledged now may be lost. */
  | { readonly state: "misconfigured"; readonly reason: string; readonly loses: boolean }

export const up: StoreHealth = { state: "up" }

/** A setting names a store that will not serve: the start ends with this. */
export class StoreMisconfigured extends Schema.TaggedError<StoreMisconfigured>()("StoreMisconfigured", {
  setting: Schema.String,
  /** The URL, without its password. */
  url: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `${this.setting}=${this.url} does not work, and will not by waiting: ${this.reason}`
  }
}

/** URLs (several, comma-separated) as they may be shown: without passwords, and without parameters, which may be secrets. */
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

/** Keeps a store's health, and says each change of it once. */
export const makeHealth = (name: string, setting: string, initial: StoreHealth) => {
  let health = initial
  return {
    now: () => health,
    set: (next: StoreHealth): Effect.Effect<void> =>
      Effect.suspend(() => {
        const before = health
        health = next
        if (next.state === "up") return before.state === "up" ? Effect.void : Effect.logInfo(`${name} is there`)
        if (next.state === before.state) return Effect.void
        return next.state === "away"
          ? Effect.logWarning(`${name} is away`, { reason: next.reason })
          : Effect.logError(`${name} does not work, and will not by waiting: ${next.reason}`, { setting })
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

/** A TLS handshake that fails each time: what is wrong, else undefined. */
export const tlsFault = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || !("code" in error)) return undefined
  const code = String(error.code)
  if (certificateFaults.has(code)) return `the server's certificate is not trusted (${code}): ${error.message}`
  return code.startsWith("ERR_SSL_") || code === "EPROTO" ? `the TLS handshake fails (${code})` : undefined
}
