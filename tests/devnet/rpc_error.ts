import { RmbError } from "@rmb/protocol";

/** A call is answered with an error, as JSON-RPC has it. */
export class RpcError extends RmbError {
  readonly code: number;
  readonly data: string | undefined;

  constructor(code: number, message: string, data?: string) {
    super(message);
    this.code = code;
    this.data = data;
  }
}
