// What comes of an exchange with an integration.
import type {
  IntegrationInvalidResponse,
  IntegrationOpen,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable,
  InvalidInput
} from "../../domain/Integration.ts"
import type { Overloaded } from "../../domain/Overload.ts"

export interface Answer {
  readonly status: number
  /** The reply's body, mapped as the definition says. */
  readonly body: unknown
  /** The same as JSON text, with integers that a double can't hold as they were sent. */
  readonly text: string
  /** How long the integration's text was. */
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
