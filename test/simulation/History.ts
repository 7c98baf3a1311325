// What the clients of a run asked for and what they saw, for the invariants to judge.
export interface Answer {
  readonly result?: Fields
  readonly error?: { readonly message: string; readonly data: Fields }
}

export type Fields = { readonly [name: string]: unknown }

export interface Asked {
  readonly user: string
  readonly instance: string
  readonly method: string
  readonly params: Fields
  readonly sentAt: number
  /** Undefined: not settled. `lost`: the connection ended first. */
  outcome: Answer | "lost" | undefined
  settledAt: number
}

export interface Violation {
  readonly invariant: string
  readonly what: string
}

export interface Acknowledged {
  readonly roomId: string
  readonly author: string
  readonly messageId: string
  /** When it was asked for, the time that was acknowledged. */
  readonly sentAt: number
  readonly at: number
  readonly body: string
  readonly key: string | undefined
}

export interface Version {
  readonly roomId: string
  /** Undefined: the update named no document. */
  readonly name: string | undefined
  readonly version: number
  /** It went around the buffer. */
  readonly isDirect: boolean
  readonly text: string
  readonly user: string
  readonly instance: string
  readonly sentAt: number
}

export class History {
  readonly asked: Array<Asked> = []
  readonly violations: Array<Violation> = []
  readonly sent: Array<Acknowledged> = []
  /** Keyed messages that were asked for, whether acknowledged or not, by author and key. */
  readonly wanted = new Map<string, { readonly roomId: string; readonly body: string }>()
  readonly versions: Array<Version> = []
  /** Updates that were asked for, whether acknowledged or not. */
  readonly updates: Array<{ readonly roomId: string; readonly text: string; readonly user: string }> = []
  readonly records: Array<{
    readonly recordId: string
    readonly ack: string
    readonly instance: string
    readonly sentAt: number
  }> = []
  /**
   * Bodies by message: the last one that was acknowledged, and those of edits whose outcome is not known. A statement of
   * such a `late` one may be on its way, and come after a later edit was acknowledged.
   */
  readonly bodies = new Map<string, { readonly possible: Set<string>; readonly late: Set<string> }>()
  /** When Redis came back without its data. */
  readonly losses: Array<{ readonly at: number }> = []
  /** When which instance was stalled for seconds. */
  readonly stalls: Array<{ readonly instance: string; readonly at: number }> = []
  readonly deleted = new Set<string>()
  readonly maybeDeleted = new Set<string>()

  /** Called with the first violation. */
  readonly onViolation: () => void

  constructor(onViolation: () => void) {
    this.onViolation = onViolation
  }

  violate(invariant: string, what: string): void {
    if (this.violations.length === 0) this.onViolation()
    if (this.violations.length < 20) this.violations.push({ invariant, what })
  }
}
