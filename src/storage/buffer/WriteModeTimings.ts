// The times of the write mode, and what they must be to each other. All follow from REDIS_TIMEOUT, in milliseconds.

const renewMs = 1000
const patienceMs = 1000
/** The least that is reckoned for Redis, because a busy process is late, too. */
const minSlowRedisMs = 500

export const writeModeTimings = (redisTimeoutMs: number) => {
  const slowRedisMs = Math.max(minSlowRedisMs, redisTimeoutMs)
  const grantedMs = renewMs + patienceMs + slowRedisMs
  const unconfirmedMs = renewMs + patienceMs
  return {
    redisTimeoutMs,
    /** Pause between two probes while the buffer is used. */
    renewMs,
    /** Pause between two probes while it is not. */
    retryMs: 250,
    /** How long Postgres may take to answer about a lease. */
    patienceMs,
    /** How long after it was asked for a lease counts here. */
    grantedMs,
    /** How long after it was asked for a lease counts for the others. */
    ttlMs: grantedMs + 2 * redisTimeoutMs + 500,
    /** How long a lease counts that Postgres did not confirm. */
    unconfirmedMs,
    /** Longest pause between two answers of Postgres while it is there. */
    contactGapMs: renewMs + slowRedisMs,
    /**
     * How long Postgres must have answered before an instance bypasses the buffer: by then every lease that was used
     * unconfirmed has been renewed, or has run out, and the last write under it has its outcome.
     */
    steadyMs: patienceMs + unconfirmedMs + slowRedisMs,
    /** How long a new lease waits for instances that are cut off: they save their copies when Postgres is back. */
    rejoinMs: renewMs + patienceMs + slowRedisMs
  }
}
export type WriteModeTimings = Readonly<ReturnType<typeof writeModeTimings>>

/** Which of the inequalities do not hold; empty when all do. */
export const violations = (timings: WriteModeTimings): ReadonlyArray<string> => {
  const { contactGapMs, grantedMs, patienceMs, redisTimeoutMs, rejoinMs, renewMs, steadyMs, ttlMs, unconfirmedMs } =
    timings
  const rules: Readonly<Record<string, boolean>> = {
    // A write that begins under a lease has its outcome before others may bypass the buffer: two commands at most.
    "ttlMs > grantedMs + 2 * redisTimeoutMs": ttlMs > grantedMs + 2 * redisTimeoutMs,
    // The same for a lease that Postgres did not confirm, if it came back just after it was asked.
    "steadyMs >= patienceMs + unconfirmedMs + redisTimeoutMs": steadyMs >= patienceMs + unconfirmedMs + redisTimeoutMs,
    // A renewal comes in time even when Redis and Postgres take as long as they may.
    "grantedMs >= renewMs + redisTimeoutMs + patienceMs": grantedMs >= renewMs + redisTimeoutMs + patienceMs,
    // Instances that went on without Postgres ask it again.
    "rejoinMs >= renewMs + redisTimeoutMs + patienceMs": rejoinMs >= renewMs + redisTimeoutMs + patienceMs,
    // Probes alone are enough contact.
    "contactGapMs >= renewMs + redisTimeoutMs": contactGapMs >= renewMs + redisTimeoutMs
  }
  return Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [rule]))
}
