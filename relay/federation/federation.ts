// deno-lint-ignore-file
export class Federation {
  constructor(
    _o: {
      answer: (session: import("@rmb/protocol").Session, bytes: Uint8Array) => void;
      deliver: (e: Uint8Array, r: import("@rmb/protocol").Routing) => unknown;
      [k: string]: unknown;
    },
  ) {}
  send(_e: Uint8Array): Promise<void> {
    return Promise.reject(new Error("TODO"));
  }
  async [Symbol.asyncDispose]() {}
}
