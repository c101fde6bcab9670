/** The same as posted_deno.ts with node:http, which the relay's server is made of. */
import http from "node:http";
import type { AddressInfo } from "node:net";

const server = http.createServer({ noDelay: true }, (request, response) => {
  request.on("data", () => {});
  request.on("end", () => {
    response.writeHead(202, { "content-length": 0 });
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
