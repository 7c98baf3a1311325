// Why an exchange failed, in words that clients may read: no address, and no text of a library.
const reasons: Readonly<Record<string, string>> = {
  HOTPATH_DENIED: "address not allowed",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection closed",
  EPIPE: "connection closed",
  ENOTFOUND: "host not found",
  EAI_AGAIN: "host not found",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "connect timeout",
  UND_ERR_CONNECT_TIMEOUT: "connect timeout",
  UND_ERR_SOCKET: "connection closed",
  UND_ERR_HEADERS_OVERFLOW: "not an HTTP answer"
}

export const reasonOf = (error: Error): string => {
  const code = "code" in error ? String(error.code) : ""
  return (
    reasons[code] ??
    (code.startsWith("HPE_") ? "not an HTTP answer" : /CERT|TLS|SSL|SELF_SIGNED/.test(code) ? "TLS failure" : "failed")
  )
}
