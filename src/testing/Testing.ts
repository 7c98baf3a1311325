// The package's entry for tests, `import … from "hotpath/testing"`: what tests of a program over hotpath need. It
// imports no test runner, so that any may run them. Nothing in src imports it.

/** What a scripted integration (`Http.layerScripted`) is asked, answers and fails with. */
export {
  type HttpAnswer,
  HttpAnswerTooLarge,
  type HttpError,
  type HttpRequest,
  HttpTimeout,
  HttpUnreachable
} from "../infra/http/Http.ts"
