// Milliseconds of the machine's monotonic clock, which all its processes share.
const origin = Number(process.hrtime.bigint()) / 1e6 - performance.now()

export const machineMs = (): number => origin + performance.now()
