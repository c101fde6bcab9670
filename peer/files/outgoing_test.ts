import assert from "node:assert/strict";
import { CodedError, ErrorCode } from "@rmb/protocol/endpoint";
import { until } from "../../tests/fixtures/deadline.ts";
import type { LocalRequest } from "../local.ts";
import type { PluginHost } from "../plugin.ts";
import { formatAcknowledgement, formatJson, JSON_SCHEMA } from "./messages.ts";
import { Outgoing } from "./outgoing.ts";

const REQUEST: LocalRequest = {
  reference: "mine",
  command: "file.upload",
  expiration: 60,
  payload: new Uint8Array(),
  tags: undefined,
  destinations: [9],
  connection: undefined,
  replyTo: "replies",
  schema: JSON_SCHEMA,
  timestamp: 0,
};

/** Uploads a file to a twin that says nothing any more, and what the gateway was asked for meanwhile. */
class SilentReceiver implements AsyncDisposable {
  readonly calls: string[] = [];
  readonly sent: string[] = [];
  readonly errors: string[] = [];
  readonly folder: string;
  readonly #agrees: boolean;
  readonly #now = Date.now;
  #outgoing: Outgoing | undefined;

  private constructor(folder: string, agrees: boolean) {
    this.folder = folder;
    this.#agrees = agrees;
  }

  /** @param agrees Whether it says at first that it takes the file. */
  static async start(agrees: boolean): Promise<SilentReceiver> {
    const folder = await Deno.makeTempDir({ prefix: "rmb-files-" });
    const receiver = new SilentReceiver(folder, agrees);
    receiver.#outgoing = await Outgoing.open(`${folder}/outgoing`, receiver.#host());
    const path = `${folder}/file`;
    await Deno.writeTextFile(path, "never to arrive");
    await receiver.#outgoing.take({ ...REQUEST, payload: formatJson({ path }) }, ID);
    return receiver;
  }

  /** Puts the clock forward, in seconds. */
  advance(seconds: number): void {
    Date.now = () => this.#now.call(Date) + seconds * 1000;
  }

  records(): string[] {
    return [...Deno.readDirSync(`${this.folder}/outgoing`)].map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Date.now = this.#now;
    await this.#outgoing?.stop();
    await Deno.remove(this.folder, { recursive: true });
  }

  #host(): PluginHost {
    return {
      call: (_, command) => {
        this.calls.push(command);
        if (this.#agrees && command === "file.negotiate") {
          return Promise.resolve({ payload: formatAcknowledgement(0), schema: JSON_SCHEMA });
        }
        return Promise.reject(new CodedError(ErrorCode.other, "twin 9 did not answer in time"));
      },
      send: (_, command, payload) => {
        this.sent.push(`${command} ${new TextDecoder().decode(payload)}`);
        return Promise.resolve();
      },
      reply: (_, { error }) => {
        if (error !== undefined) this.errors.push(error.message);
        return Promise.resolve();
      },
      deliver: () => Promise.reject(new Error("not for this")),
    };
  }
}

const ID = "0b5b6c4e-4b8c-4d43-9e5a-3c1d0f6f2a11";

for (
  const [what, agrees, seconds, message] of [
    ["makes no progress for 10 minutes", true, 601, /upload is given up at 0 bytes: .*in time/],
    ["is not agreed to while its request lives", false, 61, /9 did not agree in time: .*in time/],
  ] as const
) {
  Deno.test(`an upload that ${what} ends with an error, and its receiver is told`, async () => {
    await using receiver = await SilentReceiver.start(agrees);
    const count = (command: string) => receiver.calls.filter((call) => call === command).length;
    const attempt = agrees ? "file.write" : "file.negotiate";
    await until(() => count(attempt) >= 2, "a second attempt");
    assert.deepEqual([receiver.errors, receiver.records()], [[], [`${ID}.json`]]);
    receiver.advance(seconds);
    await until(() => receiver.records().length === 0, "the end of it");
    assert.equal(receiver.errors.length, 1);
    assert.match(receiver.errors[0]!, message);
    assert.deepEqual(receiver.sent, ['file.close {"abandon":true}']);
  });
}
