// Why a socket was closed, for a client's reconnect logic: 4000–4499 and the standard 1001, 1013 mean "reconnect",
// 4500–4999 and the other standard ones mean "don't, the same would happen again".

export const CloseCodes = {
  draining: { code: 1001, reason: "draining" },
  binary: { code: 1003, reason: "text frames only" },
  overRate: { code: 1008, reason: "far more than the rate allows" },
  overload: { code: 1013, reason: "not reading" },
  tokenExpired: { code: 4001, reason: "token expired" },
  resync: { code: 4002, reason: "events were lost: come back and resume" }
} as const

export type CloseCode = (typeof CloseCodes)[keyof typeof CloseCodes]

// Codes of the standard that end a connection without one of ours: the client's, or those `ws` closes with.
const standard = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013]
const labels = new Set([...standard, ...Object.values(CloseCodes).map(({ code }) => code)])

/** A close code as a metric's label: a client chooses its code, and must not make a series of its own with it. */
export const closeLabel = (code: number): string => (labels.has(code) ? String(code) : "other")
