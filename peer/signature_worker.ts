/** A worker of a `SignaturePool`: answers each list of jobs with the list of their results. */
import { Keypair, verifySignature } from "@rmb/protocol";
import type { SignatureJob, SignatureResult, ToSignatureWorker } from "./signature_jobs.ts";

/** This thread's own end; there are no types for it beside those of a main thread. */
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ToSignatureWorker>) => void;
  postMessage(results: readonly SignatureResult[]): void;
};

let keypair: Keypair;
scope.onmessage = async ({ data }) => {
  if ("secret" in data) keypair = Keypair.fromSecret(data.secret, data.type);
  else scope.postMessage(await Promise.all(data.jobs.map(perform)));
};

function perform({ message, account, signature }: SignatureJob): Promise<SignatureResult> {
  return account === undefined
    ? keypair.sign(message)
    : verifySignature(account, message, signature!);
}
