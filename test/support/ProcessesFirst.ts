// The order of a run: the simulation, which works all the time, and beside it the files that wait longest; then files
// that start services, then those over stores, then what takes milliseconds, so that at the end all workers have something
// to do. Within each, as vitest has it: those that failed or took long the last time, else by size.
import { relative } from "node:path"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const order = [
  /^test\/simulation\//,
  /^test\/(package\/Package|e2e\/(Start|Faults)|readme\/Run|infra\/redis\/RedisFaults|contracts\/(Locks|RateLimits|UserLimits))\./,
  /^test\/(e2e|readme|package)\//,
  /^test\/(contracts|infra|storage)\//,
  /^/
]

export class ProcessesFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const sorted = await super.sort(files)
    const place = ({ moduleId }: TestSpecification) => {
      const path = relative(this.ctx.config.root, moduleId)
      return order.findIndex((folder) => folder.test(path))
    }
    return sorted.toSorted((a, b) => place(a) - place(b))
  }
}
