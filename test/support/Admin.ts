// Requests to /admin, as an operator sends them.
export interface AdminReply {
  readonly status: number
  readonly type: string | null
  readonly etag: string | null
  // biome-ignore lint/suspicious/noExplicitAny: what a test looks at
  readonly body: any
}

export const adminToken = "test-admin-token"

export const admin =
  (http: string) =>
  async (
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {}
  ): Promise<AdminReply> => {
    const response = await fetch(`${http}/admin${path}`, {
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
