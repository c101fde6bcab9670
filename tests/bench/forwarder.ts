/**
 * The floor: forwards WebSocket messages with nothing but Deno.serve, from the connection `/a` to the
 * connection `/b`. The least that any relay must do.
 */
let receiver: WebSocket | undefined;

const onListen = ({ port }: Deno.NetAddr) => console.log(`listening on ws://127.0.0.1:${port}`);
Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.binaryType = "arraybuffer";
  if (new URL(request.url).pathname === "/b") receiver = socket;
  else socket.onmessage = ({ data }) => receiver?.send(data);
  return response;
});
