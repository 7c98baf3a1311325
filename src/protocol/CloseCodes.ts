// Why a socket was closed, for a client's reconnect logic. 4000–4499 and the standard codes 1001 and 1013 mean
// "reconnect"; 4500–4999 and the other standard codes mean "do not, the same would happen again".

export const CloseCodes = {
  draining: { code: 1001, reason: "draining" },
  binary: { code: 1003, reason: "text frames only" },
  overRate: { code: 1008, reason: "far more than the rate allows" },
  overload: { code: 1013, reason: "not reading" },
  tokenExpired: { code: 4001, reason: "token expired" },
  resync: { code: 4002, reason: "events were lost: come back and resume" }
} as const

export type CloseCode = (typeof CloseCodes)[keyof typeof CloseCodes]

// Standard codes that end a connection besides those above: the client's, or those that `ws` closes with.
const standard = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013]
const labels = new Set([...standard, ...Object.values(CloseCodes).map(({ code }) => code)])

/** A close code as a metric's label. Clients choose their codes, and must not be able to create series with them. */
export const closeLabel = (code: number): string => (labels.has(code) ? String(code) : "other")
