// CPU time of a Redis server by its own measure, which is finer than the operating system's.
import type { Redis } from "ioredis"

/** User and system time so far, in milliseconds. */
export const redisCpuMillis = async (redis: Redis): Promise<number> => {
  const text = await redis.info("cpu")
  const used = ["used_cpu_user", "used_cpu_sys"].map((name) =>
    Number(new RegExp(`^${name}:(\\S+)`, "m").exec(text)?.[1])
  )
  return used.reduce((total, value) => total + value, 0) * 1000
}
