// Milliseconds of the machine's monotonic clock, which is the same in all its processes.
const origin = Number(process.hrtime.bigint()) / 1e6 - performance.now()

export const machineMs = (): number => origin + performance.now()
