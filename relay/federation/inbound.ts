// deno-lint-ignore-file
import type { Answer } from "../server.ts";
export class Inbound {
  constructor(
    _o: {
      accept: (e: Uint8Array, r: import("@rmb/protocol").Routing) => unknown;
      [k: string]: unknown;
    },
  ) {}
  answer(_r: unknown): Promise<Answer> {
    return Promise.resolve({ status: 404, body: "page not found\n" });
  }
}
