// The package's entry for tests, `import … from "hotpath/testing"`: what tests of a program over hotpath need. It
// imports no test runner, so that any may run them. Nothing in src imports it.

/** What an integration is asked, answers and fails with. */
export {
  type HttpAnswer,
  HttpAnswerTooLarge,
  type HttpError,
  type HttpRequest,
  HttpTimeout,
  HttpUnreachable
} from "../infra/http/Http.ts"
export * as Faults from "./Faults.ts"
export * from "./TestClient.ts"
export { TestHotpath, type TestOptions } from "./TestHotpath.ts"
export type { InstanceOptions, Services, TestInstance } from "./TestInstance.ts"
export type { Upstream, UpstreamAnswer } from "./Upstream.ts"
