// What an exchange with an integration takes, and what comes of it.
import type {
  IntegrationInvalidResponse,
  IntegrationOpen,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable,
  InvalidInput
} from "../../domain/Integration.ts"
import type { Overloaded } from "../../domain/Overload.ts"
import type { UserConfig } from "../../domain/UserConfig.ts"
import type { Bulkhead } from "./Bulkhead.ts"
import type { Endpoint } from "./Endpoint.ts"

/** An integration, ready to be called for one user. */
export interface Target {
  readonly user: string
  readonly endpoint: Endpoint
  readonly bulkhead: Bulkhead
  readonly config: UserConfig
}

export interface Answer {
  readonly status: number
  /** The body, mapped as the definition says. */
  readonly body: unknown
  /** The same body as JSON text. Integers that a double can't hold keep the digits that were sent. */
  readonly text: string
  /** The length of the integration's own text. */
  readonly bytes: number
}

export type FetchError =
  | InvalidInput
  | Overloaded
  | IntegrationOpen
  | IntegrationTimeout
  | IntegrationUnreachable
  | IntegrationRejected
  | IntegrationInvalidResponse
