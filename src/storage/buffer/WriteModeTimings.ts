// The times of the write mode, and what they must be to each other. All follow from REDIS_TIMEOUT, in milliseconds.

const renewMs = 1000
const patienceMs = 1000
/** A Redis that is set to answer sooner still gets this long: a busy process is late, too. */
const minSlowRedisMs = 500

export interface WriteModeTimings {
  readonly redisTimeoutMs: number
  /** Pause between two probes while the buffer is used. */
  readonly renewMs: number
  /** Pause between two probes while it is not. */
  readonly retryMs: number
  /** How long Postgres may take to answer about a lease. */
  readonly patienceMs: number
  /** How long after it was asked for a lease counts here. */
  readonly grantedMs: number
  /** How long after it was asked for a lease counts for the others. */
  readonly ttlMs: number
  /** How long a lease counts that Postgres did not confirm. */
  readonly unconfirmedMs: number
  /** Longest pause between two answers of Postgres while it is there. */
  readonly contactGapMs: number
  /**
   * How long Postgres must have answered before an instance bypasses the buffer: by then every instance that went on
   * unconfirmed has renewed its lease.
   */
  readonly steadyMs: number
}

export const writeModeTimings = (redisTimeoutMs: number): WriteModeTimings => {
  const slowRedisMs = Math.max(minSlowRedisMs, redisTimeoutMs)
  const grantedMs = renewMs + patienceMs + slowRedisMs
  return {
    redisTimeoutMs,
    renewMs,
    retryMs: 250,
    patienceMs,
    grantedMs,
    ttlMs: grantedMs + 2 * redisTimeoutMs + 500,
    unconfirmedMs: renewMs + patienceMs,
    contactGapMs: renewMs + slowRedisMs,
    steadyMs: renewMs + patienceMs + slowRedisMs
  }
}

/** Which of the inequalities do not hold; empty when all do. */
export const violations = (timings: WriteModeTimings): ReadonlyArray<string> => {
  const { contactGapMs, grantedMs, patienceMs, redisTimeoutMs, renewMs, retryMs, steadyMs, ttlMs, unconfirmedMs } =
    timings
  const rules: Readonly<Record<string, boolean>> = {
    // A write begun under the lease has its answer, or none, before others may bypass the buffer: two commands, at the most.
    "ttlMs > grantedMs + 2 * redisTimeoutMs": ttlMs > grantedMs + 2 * redisTimeoutMs,
    // A renewal comes in time even when Redis and Postgres take as long as they may.
    "grantedMs >= renewMs + redisTimeoutMs + patienceMs": grantedMs >= renewMs + redisTimeoutMs + patienceMs,
    "unconfirmedMs >= renewMs + patienceMs": unconfirmedMs >= renewMs + patienceMs,
    // Postgres is back: instances that went on without it ask it again before anyone bypasses the buffer.
    "steadyMs >= renewMs + redisTimeoutMs + patienceMs": steadyMs >= renewMs + redisTimeoutMs + patienceMs,
    "steadyMs > unconfirmedMs": steadyMs > unconfirmedMs,
    // Probes alone are enough contact.
    "contactGapMs >= renewMs + redisTimeoutMs": contactGapMs >= renewMs + redisTimeoutMs,
    // A write that waits until leases of dead instances have run out also sees Postgres steady by then.
    "ttlMs >= steadyMs": ttlMs >= steadyMs,
    "retryMs <= renewMs": retryMs <= renewMs
  }
  return Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [rule]))
}
