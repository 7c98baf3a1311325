// Leases of names under tokens, in memory. A lease counts until it expires or is released, and its name is forgotten
// with it. `now` is the monotonic clock's, so that setting the machine's clock moves no lease.

/** `maxNames`: names that are leased at a time. Beyond it every other name is busy. */
export const makeLeases = (maxNames: number) => {
  const leases = new Map<string, { readonly token: string; readonly expiresAt: number }>()

  /** The token that has the name. */
  const holderOf = (name: string, now: number): string | undefined => {
    const known = leases.get(name)
    if (known === undefined || known.expiresAt > now) return known?.token
    leases.delete(name)
    return undefined
  }

  return {
    holderOf,
    /** Leases the name, or renews it. False if another token has it, or there is no room for one more. */
    lease: (name: string, token: string, ttlMs: number, now: number): boolean => {
      const holder = holderOf(name, now)
      if (holder !== undefined && holder !== token) return false
      if (holder === undefined && leases.size >= maxNames) {
        for (const other of [...leases.keys()]) holderOf(other, now)
        if (leases.size >= maxNames) return false
      }
      leases.set(name, { token, expiresAt: now + ttlMs })
      return true
    },
    /** False if the lease is over, or another token has it. */
    release: (name: string, token: string, now: number): boolean =>
      holderOf(name, now) === token && leases.delete(name),
    /** Ends a lease before its time. */
    drop: (name: string): boolean => leases.delete(name),
    clear: (): void => leases.clear()
  }
}
