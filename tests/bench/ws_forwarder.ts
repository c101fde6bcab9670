/**
 * The same as forwarder.ts with what the relay's server is made of: node:http and ws, and a ping to each
 * client every 20 s.
 */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";

/** What is used of a WebSocket of that library, which brings no types. */
interface WebSocket {
  send(data: Uint8Array, options: { binary: boolean; compress: boolean }): void;
  ping(): void;
  on(event: "message", listener: (data: Uint8Array) => void): void;
  on(event: "close" | "error", listener: () => void): void;
}

const receivers = new Map<string, WebSocket>();
const clients = new Set<WebSocket>();

const server = http.createServer({ noDelay: true });
const webSockets = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  skipUTF8Validation: true,
});
server.on("upgrade", (request, connection, head) => {
  webSockets.handleUpgrade(request, connection, head, (socket: WebSocket) => {
    const [, role, id = ""] = request.url!.split("/");
    clients.add(socket);
    socket.on("error", () => {}); // It is closed then.
    socket.on("close", () => clients.delete(socket));
    if (role === "to") {
      receivers.set(id, socket);
      socket.on("close", () => receivers.delete(id));
    } else {
      const receiver = receivers.get(id);
      socket.on("message", (data) => receiver?.send(data, { binary: true, compress: false }));
    }
  });
});
setInterval(() => clients.forEach((socket) => socket.ping()), 20_000);
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
