// The package entry `hotpath/testing`.
export * from "./TestClient.ts"
export { TestHotpath, type TestInstance, type TestOptions } from "./TestHotpath.ts"
export type { Upstream, UpstreamAnswer } from "./Upstream.ts"
