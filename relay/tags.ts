import type { Routing } from "@rmb/protocol";

/** The tag of a message that must not be queued. */
const FAIL_FAST = "fail-fast";

/** Whether a message must not be queued: its tags are divided by commas and white space. */
export function isFailFast({ tags }: Routing): boolean {
  return tags !== undefined && tags.includes(FAIL_FAST) &&
    tags.split(/[\s,]+/).includes(FAIL_FAST);
}
