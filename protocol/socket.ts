import { RmbError } from "./errors.ts";

/**
 * Checks that the platform has a WebSocket: Node has one from version 22 on.
 *
 * @throws {RmbError} if not; says what to do.
 */
export function checkPlatform(): void {
  if (typeof WebSocket !== "undefined") return;
  throw new RmbError(
    'This platform has no WebSocket: give it one, globalThis.WebSocket = (await import("ws")).WebSocket',
  );
}

/** An answer that a relay gave instead of taking a connection. */
export interface Refusal {
  /** HTTP status. */
  readonly status: number;
  /** What the relay says about it: the beginning of the answer's text, where that can be read. */
  readonly text?: string;
  /** The relay's clock: the answer's `Date`, where that can be read. */
  readonly date?: string | undefined;
}

/** What a {@linkcode RelaySocket} tells. */
export interface RelaySocketEvents {
  /**
   * It is open.
   *
   * @param date The relay's clock: the `Date` of its answer, where that can be read.
   */
  onOpen(date?: string): void;
  /** A binary message arrived. */
  onMessage(bytes: Uint8Array): void;
  /**
   * It is closed, or was not opened: the last event.
   *
   * @param reason Why, for people.
   * @param refusal What the relay answered instead, where that can be told.
   */
  onEnd(reason: string, refusal?: Refusal): void;
}

/** A WebSocket to a relay, as far as a `RelayConnection` uses it. */
export interface RelaySocket {
  /** Bytes of messages handed to it that the operating system has not taken. */
  readonly bufferedAmount: number;
  /** Sends a binary message, which must not be changed any more, if it is open. */
  send(bytes: Uint8Array): void;
  /** Stops reading, if it is open. What was read already may still be delivered. */
  pause(): void;
  /** Goes on reading. */
  resume(): void;
  /**
   * Closes it in order, if it is open: what arrives until the relay has closed it too is delivered,
   * where that can be had. It ends soon after.
   */
  close(): void;
  /** Lets go of it at once. No event comes after that. */
  terminate(): void;
}

/** Begins to open a WebSocket; never throws, and tells nothing before it has returned. */
export type OpenSocket = (url: URL, events: RelaySocketEvents) => RelaySocket;

/** A refusal's HTTP status in an error's message: Deno says it, and `ws`, but no browser. */
const STATUS = /(?:status code|server response): (\d+)$/;

/** Why a connection was not made, as far as a browser says. */
const UNTOLD = "it can't be reached, or refuses: this platform does not say which";

/**
 * Opens the WebSocket that every JavaScript platform has. It can't stop reading: while it is paused,
 * what arrives waits in memory. Nor does it deliver anything after {@linkcode RelaySocket.close}.
 */
export function openWebSocket(url: URL, events: RelaySocketEvents): RelaySocket {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let paused = false;
  const held: Uint8Array[] = [];
  const letGo = () => {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    try {
      socket.close(1000); // Not waited for: that can take minutes.
    } catch {
      // It had never begun to connect.
    }
  };
  const end = (reason: string, refusal?: Refusal) => {
    letGo();
    events.onEnd(reason, refusal);
  };
  socket.onopen = () => events.onOpen();
  socket.onmessage = ({ data }) => {
    if (!(data instanceof ArrayBuffer)) return end(sentText(url));
    if (paused) held.push(new Uint8Array(data));
    else events.onMessage(new Uint8Array(data));
  };
  socket.onerror = (event) => {
    const reason = (event as ErrorEvent).message || UNTOLD;
    const status = STATUS.exec(reason)?.[1];
    end(reason, status === undefined ? undefined : { status: Number(status) });
  };
  socket.onclose = ({ code, reason }) => end(closedBy(url, code, reason));
  return {
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    send(bytes) {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes as Uint8Array<ArrayBuffer>);
    },
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      for (const bytes of held.splice(0)) {
        if (paused) held.push(bytes);
        else events.onMessage(bytes);
      }
    },
    close: () => end("closed"),
    terminate() {
      held.length = 0;
      letGo();
    },
  };
}

/** Why a connection ends on which text came. */
export function sentText({ host }: URL): string {
  return `${host} sent text, which is not of this protocol`;
}

/** Why a connection ended that the relay closed. */
export function closedBy({ host }: URL, code: number, reason: string): string {
  return `${host} closed the connection (${code}${reason && `: ${reason}`})`;
}
