// Requests to /admin, as an operator sends them.
export interface AdminReply {
  readonly status: number
  readonly type: string | null
  readonly etag: string | null
  // biome-ignore lint/suspicious/noExplicitAny: what a test looks at
  readonly body: any
}

export const adminToken = "test-admin-token"

type Fetch = (path: string, init: RequestInit) => Promise<Response>

/** Of the server at this address, or of what answers these requests. */
export const admin =
  (at: string | Fetch) =>
  async (
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {}
  ): Promise<AdminReply> => {
    const ask: Fetch = typeof at === "string" ? (below, init) => fetch(at + below, init) : at
    const response = await ask(`/admin${path}`, {
      method,
      headers: {
        authorization: `Bearer ${adminToken}`,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers
      },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) })
    })
    const text = await response.text()
    return {
      status: response.status,
      type: response.headers.get("content-type"),
      etag: response.headers.get("etag"),
      body: text === "" ? undefined : JSON.parse(text)
    }
  }
