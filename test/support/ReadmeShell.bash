# What commands of the READMEs' shell blocks do when a test runs them; ReadmeShell.ts says why. STATE is a file for variables.
set -euo pipefail
if [ -e "$STATE" ]; then . "$STATE"; fi
trap 'declare -px > "$STATE"' EXIT

npm() {
  case "$1 ${2:-}" in
    "ci "*) command npm ci --dry-run --offline --no-audit --no-fund ;;
    "run bench") bench "${@:4}" ;;
    "run "*) node -e 'process.exit(require("./package.json").scripts[process.argv[1]] ? 0 : 1)' "$2" ;;
    *) command npm "$@" ;;
  esac
}

# The benchmark's own reader of options refuses what is wrong; which benchmarks there are, its usage says.
bench() {
  local names="$STATE-benches"
  if [ ! -e "$names" ]; then
    (node scripts/bench/main.ts --rounds=0 2>&1 || true) | sed -n 's/^usage: [^[]*\[\([a-z|]*\)\].*/\1/p' >"$names"
  fi
  NAMES=$(cat "$names") node --input-type=module -e '
    import { readOptions } from "./scripts/bench/lib/options.ts"
    readOptions(process.env.NAMES.split("|"))' -- "$@"
}

# A machine that runs other tests beside this one is slower than a reader's.
sleep() { command sleep $(($1 * 4)); }

scripts_test() { bash -n scripts/test; }

curl() {
  if type -P curl >/dev/null; then command curl -sS --fail-with-body "$@"; else node test/support/CurlStandIn.ts "$@"; fi
  echo
}
