// Resource usage of a process, from the operating system: /proc on Linux, `ps` elsewhere.
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { setInterval } from "node:timers/promises"

const ps = (pid: number, column: string) =>
  execFileSync("ps", ["-o", `${column}=`, "-p", String(pid)], { encoding: "utf8" }).trim()

/** User and system time of a process so far, in milliseconds. */
export const cpuMillis = (pid: number): number => {
  if (process.platform === "linux") {
    // Clock ticks: 100 per second on every Linux platform that Node runs on. The name before them may contain spaces and
    // parentheses.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  }
  // [[days-]hours:]minutes:seconds.hundredths
  const [time = "", days = "0"] = ps(pid, "time").split("-").reverse()
  return time.split(":").reduce((sum, part) => sum * 60 + Number(part), 0) * 1000 + Number(days) * 86_400_000
}

/** Resident memory in bytes. */
export const residentBytes = (pid: number): number => {
  const kilobytes =
    process.platform === "linux"
      ? /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
      : ps(pid, "rss")
  return Number(kilobytes) * 1024
}

/** Resident memory once it changed by less than 0.5% for 3 seconds; no collection is forced. Gives up after 15 seconds. */
export const settledBytes = async (pid: number): Promise<number> => {
  const seen: Array<number> = []
  for await (const _ of setInterval(500)) {
    seen.push(residentBytes(pid))
    const recent = seen.slice(-7)
    const settled = recent.length === 7 && Math.max(...recent) - Math.min(...recent) < Math.max(...recent) * 0.005
    if (settled || seen.length >= 30) break
  }
  return seen.at(-1) ?? Number.NaN
}

/** The limit of open files: Node raises its own limit to the hard one. */
export const openFilesLimit = (): number => {
  const limit = execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).trim()
  return limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit)
}
