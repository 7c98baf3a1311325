// Who may connect, and who administers.
import { httpUrl, list, optional, secret, setting } from "./Setting.ts"

export const authSettings = {
  AUTH_SECRET: optional(
    secret(/^(?=.*\S).{32,}$/s),
    "HS256 secret of the clients' JWTs, 32 characters or more; unset: development, `?user=NAME`",
    "at least 32 random characters (a shorter one can be guessed from a token)",
    { secret: true }
  ),
  AUTH_JWKS_URL: optional(
    httpUrl,
    "URL of the key set (JWKS) of asymmetrically signed JWTs",
    "an http or https URL, such as https://issuer.example/.well-known/jwks.json"
  ),
  AUTH_ISSUER: setting(
    list,
    "",
    "comma-separated: a token's `iss` must be one of them; unset: not checked",
    "https://issuer.example,…"
  ),
  AUTH_AUDIENCE: setting(
    list,
    "",
    "comma-separated: a token's `aud` must hold one of them; unset: not checked (warned of with `AUTH_JWKS_URL`)",
    "my-api,…"
  ),
  ADMIN_TOKEN: optional(
    secret(/^\S{16,}$/),
    "bearer token of `/admin`, 16 characters or more; unset: generated at start, and printed in development and on a terminal",
    "at least 16 characters, no blanks",
    { secret: true }
  )
}
