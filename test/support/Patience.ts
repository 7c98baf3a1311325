/**
 * As long as a busy machine needs for anything that a test waits for, in milliseconds. It bounds waits and is no part of what
 * a test says: nothing is asserted about it, and a test that passes has not waited for it.
 */
export const patienceMs = 90_000
