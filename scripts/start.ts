// npm start: the service from dist/server, made anew if the sources have changed (bundle.ts).
import { entry } from "./bundle.ts"

await import(await entry())
