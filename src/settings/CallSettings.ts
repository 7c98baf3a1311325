// Calls of integrations and the catalog they come from.
import { aDuration, count, duration, networks, ratio, setting, wholeNumber } from "./Setting.ts"

export const callSettings = {
  UPSTREAM_DENY: setting(
    networks,
    "",
    "address ranges (CIDR, comma-separated) that an integration may not reach, besides those that are always denied (the default)",
    "10.0.0.0/8,…",
    { shown: "link-local, metadata, multicast, unspecified" }
  ),
  UPSTREAM_ALLOW: setting(
    networks,
    "",
    "exceptions to UPSTREAM_DENY, and to the ranges that are always denied if they lie inside one of those",
    "10.1.2.3/32,…"
  ),
  CATALOG_REFRESH: setting(duration, "10 seconds", "how often the catalog is re-read", aDuration),
  MAX_WAITING_CALLS: setting(
    count,
    "1000",
    "calls waiting for a slot of one integration; beyond it `Overloaded`",
    wholeNumber
  ),
  MAX_ANSWER_BYTES: setting(
    count,
    "1048576",
    "an integration's answer; beyond it `IntegrationInvalidResponse`",
    wholeNumber
  ),
  USER_CALL_SHARE: setting(
    ratio,
    "0.25",
    "the share of an integration's slots, in flight and waiting, that one user may take; twice as many in flight while half of all are free",
    "a number from 0 to 1"
  )
}
