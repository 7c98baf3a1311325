// npm start: the service from dist/server, made anew if the sources have changed (bundle.mjs).
import { entry } from "./bundle.mjs"

await import(await entry())
