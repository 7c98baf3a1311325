// How a script asks which life of a Redis server it runs in, in Lua. Each start of the server has another run id, and a
// server that was started again may have lost what it acknowledged. It costs 5 µs.
export const runIdLua = `string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')`
