// The repository behind the buffer: what is in it lasts.
import { Context, Layer } from "effect"
import { Repository } from "../rooms/Repository.ts"

export class Durable extends Context.Service<Durable, Repository["Service"]>()("hotpath/storage/buffer/Durable") {
  static readonly layer = Layer.effect(Durable, Repository)
}
