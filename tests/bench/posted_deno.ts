/** The floor of receiving from other relays: Deno.serve that reads what is posted, and takes it. */
const onListen = ({ port }: Deno.NetAddr) => console.log(`listening on ws://127.0.0.1:${port}`);
Deno.serve({ hostname: "127.0.0.1", port: 0, onListen }, async (request) => {
  await request.arrayBuffer();
  return new Response(null, { status: 202 });
});
