import type { Routing } from "@rmb/protocol";

/** The tag of a message that must not be queued, between commas or white space; tags can be very long. */
const FAIL_FAST = /(?<![^\s,])fail-fast(?![^\s,])/;

/** Whether a message must not be queued. */
export function isFailFast({ tags }: Routing): boolean {
  return tags !== undefined && FAIL_FAST.test(tags);
}
