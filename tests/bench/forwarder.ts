/**
 * The floor: forwards WebSocket messages with nothing but Deno.serve, from the connection `/from/ID` to
 * the connection `/to/ID`. The least that any relay in Deno must do.
 */
const receivers = new Map<string, WebSocket>();

const onListen = ({ port }: Deno.NetAddr) => console.log(`listening on ws://127.0.0.1:${port}`);
Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, (request) => {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.binaryType = "arraybuffer";
  const [, role, id = ""] = new URL(request.url).pathname.split("/");
  if (role === "to") {
    receivers.set(id, socket);
    socket.onclose = () => receivers.delete(id);
  } else {
    const receiver = receivers.get(id);
    socket.onmessage = ({ data }) => receiver?.send(data);
  }
  socket.onerror = () => {}; // The client went without a word.
  return response;
});
