// The limits of one user, lifted: for tests and benchmarks that do under a few names what many people would.
export const liftedLimits = {
  USER_CONNECTIONS: "100000",
  USER_RATE: "1000000",
  USER_CALL_SHARE: "1",
  USER_MODEL_RATE: "1000000",
  USER_ROOMS_PER_DAY: "1000000",
  USER_BYTES_PER_DAY: "1000000000000"
}
