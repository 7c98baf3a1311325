// Why a socket was closed, for a client's reconnect logic: 4000–4499 and the standard 1001, 1013 mean "reconnect",
// 4500–4999 and the other standard ones mean "don't, the same would happen again".

export const CloseCodes = {
  draining: { code: 1001, reason: "draining" },
  binary: { code: 1003, reason: "text frames only" },
  overload: { code: 1013, reason: "not reading" },
  tokenExpired: { code: 4001, reason: "token expired" },
  resync: { code: 4002, reason: "events were lost: come back and resume" }
} as const

export type CloseCode = (typeof CloseCodes)[keyof typeof CloseCodes]
