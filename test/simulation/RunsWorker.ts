// A worker of Runs.ts.
import { type Share, work } from "./Runs.ts"

process.on("message", (share: Share) => {
  work(share, (report) => process.send?.(report))
  process.disconnect()
})
