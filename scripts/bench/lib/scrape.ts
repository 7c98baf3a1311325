// Reads hotpath's /metrics.

export interface Scraped {
  readonly value: (name: string, labels?: string) => number
  /** Cumulative counts by upper bound, in order. */
  readonly buckets: (name: string) => ReadonlyArray<readonly [bound: number, count: number]>
}

/** `address`: the WebSocket address. */
export const scrape = async (address: string): Promise<Scraped> => {
  const url = new URL("/metrics", address.replace(/^ws/, "http"))
  const lines = (await (await fetch(url)).text()).split("\n")
  const value = (name: string, labels = "") =>
    Number(lines.find((line) => line.startsWith(`${name}${labels} `))?.split(" ")[1])
  return {
    value,
    buckets: (name) =>
      lines.flatMap((line) => {
        const found = /\{le="([^"]+)"\} (\d+)/.exec(line.startsWith(`${name}_bucket`) ? line : "")
        if (found === null) return []
        return [[found[1] === "+Inf" ? Number.POSITIVE_INFINITY : Number(found[1]), Number(found[2])] as const]
      })
  }
}

/** The bucket of the longest observation since `before`. */
export const longest = (name: string, before: Scraped, after: Scraped): number => {
  const counts = new Map(before.buckets(name))
  const more = after.buckets(name).map(([bound, count]) => [bound, count - (counts.get(bound) ?? 0)] as const)
  const all = more.at(-1)?.[1] ?? 0
  return more.find(([, count]) => count === all)?.[0] ?? Number.NaN
}
