// The repository behind the buffer: what is in it lasts.
import { Context, Layer } from "effect"
import { Repository } from "./Repository.ts"

export class Durable extends Context.Service<Durable, Repository["Service"]>()("hotpath/storage/Durable") {
  static readonly layer = Layer.effect(Durable, Repository)
}
