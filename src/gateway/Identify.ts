// Who is calling: a JWT (`Authorization: Bearer`, or `?token=` for browsers), or in development whoever `?user=` says.
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify
} from "jose"
import { type Identity, IdentityUnavailable, Unauthorized, UserId } from "../domain/Identity.ts"
import { Settings } from "../Settings.ts"

/** Without keys anyone may say who they are: not on an address that others can reach. */
export class DevelopmentOnPublicAddress extends Schema.TaggedError<DevelopmentOnPublicAddress>()(
  "DevelopmentOnPublicAddress",
  { host: Schema.String }
) {
  override get message() {
    return `HOST=${this.host} is not loopback, and without AUTH_SECRET or AUTH_JWKS_URL anyone may say who they are. Set one of them, or HOST=127.0.0.1.`
  }
}

interface Credentials {
  readonly authorization: string | undefined
  readonly query: URLSearchParams
}

export class Identify extends Context.Service<
  Identify,
  { readonly identify: (credentials: Credentials) => Effect.Effect<Identity, Unauthorized | IdentityUnavailable> }
>()("hotpath/gateway/Identify") {
  static readonly layer = Layer.effect(
    Identify,
    Effect.gen(function* () {
      const { AUTH_JWKS_URL, AUTH_SECRET, HOST } = yield* Settings
      if (AUTH_SECRET === undefined && AUTH_JWKS_URL === undefined) {
        if (!loopback.test(HOST)) return yield* new DevelopmentOnPublicAddress({ host: HOST })
        return Identify.of({ identify: ({ query }) => development(query.get("user")) })
      }
      const secret = AUTH_SECRET === undefined ? undefined : new TextEncoder().encode(Redacted.value(AUTH_SECRET))
      const keys =
        AUTH_JWKS_URL === undefined ? undefined : createRemoteJWKSet(AUTH_JWKS_URL, { timeoutDuration: 3000 })
      return Identify.of({
        identify: ({ authorization, query }) => {
          const token = authorization?.match(/^Bearer (.+)$/i)?.[1] ?? query.get("token")
          return token === null || token === undefined
            ? Effect.fail(new Unauthorized({ reason: "a token is needed" }))
            : Effect.flatMap(verify(token, secret, keys), fromClaims)
        }
      })
    })
  )
}

const loopback = /^(127(\.\d+){3}|::1|\[::1\]|localhost)$/

const decodeUser = Schema.decodeUnknownEffect(UserId)

const development = (user: string | null) =>
  decodeUser(user).pipe(
    Effect.map((decoded): Identity => ({ user: decoded, name: undefined, expiresAt: undefined })),
    Effect.mapError(() => new Unauthorized({ reason: "development: say who you are with ?user=NAME" }))
  )

// The algorithm is bound to the kind of key: a public key is never taken for an HMAC secret.
const asymmetric = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

const verify = (token: string, secret: Uint8Array | undefined, keys: JWTVerifyGetKey | undefined) =>
  Effect.tryPromise({
    try: async () => {
      const hmac = decodeProtectedHeader(token).alg === "HS256"
      const options = { requiredClaims: ["sub", "exp"], clockTolerance: 5 }
      if (hmac && secret !== undefined)
        return (await jwtVerify(token, secret, { ...options, algorithms: ["HS256"] })).payload
      if (!hmac && keys !== undefined)
        return (await jwtVerify(token, keys, { ...options, algorithms: asymmetric })).payload
      throw new errors.JOSEAlgNotAllowed("the token's algorithm is not accepted")
    },
    catch: (error) =>
      error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError || error instanceof TypeError)
        ? new IdentityUnavailable()
        : new Unauthorized({
            reason: error instanceof errors.JWTExpired ? "the token has expired" : "the token is not valid"
          })
  })

const Claims = Schema.Struct({ sub: UserId, name: Schema.optionalKey(Schema.String), exp: Schema.Finite })
const decodeClaims = Schema.decodeUnknownEffect(Claims)

const fromClaims = (payload: JWTPayload) =>
  decodeClaims(payload).pipe(
    Effect.map(({ exp, name, sub }): Identity => ({ user: sub, name, expiresAt: exp * 1000 })),
    Effect.mapError(() => new Unauthorized({ reason: "the token's claims are not sub, exp and name" }))
  )
