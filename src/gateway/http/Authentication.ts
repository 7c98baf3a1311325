// Identifies the caller: by a JWT (`Authorization: Bearer`, for browsers a subprotocol or `?token=`), or in development
// by `?user=`.
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify
} from "jose"
import { type Identity, IdentityUnavailable, Unauthorized, UserId } from "../../domain/Identity.ts"
import { makeLimitedLog } from "../../observability/LimitedLog.ts"
import { isLoopback, Settings } from "../../Settings.ts"

/** Without keys anyone may claim to be any user, so the instance must not listen where others reach it. */
export class DevelopmentOnPublicAddress extends Schema.TaggedError<DevelopmentOnPublicAddress>()(
  "DevelopmentOnPublicAddress",
  { host: Schema.String }
) {
  override get message() {
    return `HOST=${this.host} is not loopback, and without AUTH_SECRET or AUTH_JWKS_URL anyone may say who they are. Set one of them, or HOST=127.0.0.1.`
  }
}

export class Authentication extends Context.Service<
  Authentication,
  {
    readonly identify: (credentials: {
      readonly authorization: string | undefined
      /** The token of the subprotocol `bearer.…`. */
      readonly protocol?: string | undefined
      readonly query: URLSearchParams
    }) => Effect.Effect<Identity, Unauthorized | IdentityUnavailable>
  }
>()("hotpath/gateway/http/Authentication") {
  static readonly layer = Layer.effect(
    Authentication,
    Effect.gen(function* () {
      const { AUTH_AUDIENCE, AUTH_ISSUER, AUTH_JWKS_URL, AUTH_SECRET, HOST } = yield* Settings
      if (AUTH_SECRET === undefined && AUTH_JWKS_URL === undefined) {
        if (!isLoopback(HOST)) return yield* new DevelopmentOnPublicAddress({ host: HOST })
        yield* Effect.logWarning(
          "development: anybody who reaches this instance may say who they are with ?user=NAME (set AUTH_SECRET or AUTH_JWKS_URL)"
        )
        return Authentication.of({ identify: ({ query }) => development(query.get("user")) })
      }
      if (AUTH_JWKS_URL !== undefined && AUTH_AUDIENCE.length === 0) {
        yield* Effect.logWarning(
          "AUTH_AUDIENCE is not set: every token of this issuer is accepted, those made for other applications too",
          { issuerKeys: AUTH_JWKS_URL.origin }
        )
      }
      const secret = AUTH_SECRET === undefined ? undefined : new TextEncoder().encode(Redacted.value(AUTH_SECRET))
      const keys = AUTH_JWKS_URL === undefined ? undefined : remoteKeys(AUTH_JWKS_URL)
      const options = {
        ...(AUTH_ISSUER.length > 0 && { issuer: [...AUTH_ISSUER] }),
        ...(AUTH_AUDIENCE.length > 0 && { audience: [...AUTH_AUDIENCE] }),
        requiredClaims: ["sub", "exp"],
        clockTolerance: 5
      }
      // The algorithm is bound to the kind of key: a public key is never used as an HMAC secret.
      const payloadOf = async (token: string) => {
        const hmac = decodeProtectedHeader(token).alg === "HS256"
        if (hmac && secret !== undefined) {
          return (await jwtVerify(token, secret, { ...options, algorithms: ["HS256"] })).payload
        }
        if (!hmac && keys !== undefined) {
          return (await jwtVerify(token, keys, { ...options, algorithms: asymmetric })).payload
        }
        throw new errors.JOSEAlgNotAllowed("the token's algorithm is not accepted")
      }
      const verify = (token: string) => {
        const verified = Effect.tryPromise({
          try: () => payloadOf(token),
          catch: (error) =>
            error instanceof IdentityUnavailable ? error : new Unauthorized({ reason: refusedFor(error) })
        })
        if (keys === undefined) return verified
        return Effect.timeoutOrElse(verified, {
          duration: deadline,
          orElse: () => Effect.fail(keysUnavailable("fetching them takes too long"))
        })
      }
      const warn = yield* makeLimitedLog
      return Authentication.of({
        identify: ({ authorization, protocol, query }) => {
          const token = authorization?.match(/^Bearer (.+)$/i)?.[1] ?? protocol ?? query.get("token")
          if (token === null) return Effect.fail(new Unauthorized({ reason: "a token is needed" }))
          return verify(token).pipe(
            Effect.tapErrorTag("IdentityUnavailable", ({ reason }) =>
              warn((leftOut) => Effect.logWarning("tokens can't be checked", { reason, leftOut }))
            ),
            Effect.flatMap(fromClaims)
          )
        }
      })
    })
  )
}

const decodeUser = Schema.decodeUnknownEffect(UserId)

const development = (user: string | null) =>
  decodeUser(user).pipe(
    Effect.map((decoded): Identity => ({ user: decoded, expiresAt: undefined })),
    Effect.mapError(() => new Unauthorized({ reason: "development: say who you are with ?user=NAME" }))
  )

const asymmetric = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

/** For verifying with the issuer's keys, which may have to be fetched more than once. */
const deadline = "5 seconds"

/** The token can be neither accepted nor refused. */
const keysUnavailable = (why: string) =>
  new IdentityUnavailable({ reason: `the issuer's keys can't be had now: ${why}` })

// A token whose key is not in the key set is at fault itself; every other error is the issuer's or the network's.
const isTokensFault = (error: unknown) =>
  error instanceof errors.JWKSNoMatchingKey ||
  error instanceof errors.JWKSMultipleMatchingKeys ||
  error instanceof errors.JOSENotSupported

const remoteKeys = (url: URL): JWTVerifyGetKey => {
  const keys = createRemoteJWKSet(url, { timeoutDuration: 3000 })
  return (header, token) =>
    keys(header, token).catch((error: unknown) => {
      throw isTokensFault(error) ? error : keysUnavailable(error instanceof Error ? error.message : String(error))
    })
}

const refusedFor = (error: unknown) =>
  error instanceof errors.JWTExpired
    ? "the token has expired"
    : error instanceof errors.JWTClaimValidationFailed && (error.claim === "aud" || error.claim === "iss")
      ? `the token's ${error.claim} is not one that is accepted here`
      : "the token is not valid"

const Claims = Schema.Struct({ sub: UserId, name: Schema.optionalKey(Schema.String), exp: Schema.Finite })
const decodeClaims = Schema.decodeUnknownEffect(Claims)

const fromClaims = (payload: JWTPayload) =>
  decodeClaims(payload).pipe(
    Effect.map(({ exp, sub }): Identity => ({ user: sub, expiresAt: exp * 1000 })),
    Effect.mapError(() => new Unauthorized({ reason: "the token's claims are not sub, exp and name" }))
  )
