/**
 * A bot in a web page: it has its secret in memory only, calls a command of another twin, and answers one.
 *
 *     deno bundle --platform browser --minify -o bundle.js page.js
 */
import { Client, Commands } from "@rmb/protocol";
import { TfchainRegistry } from "@rmb/protocol/tfchain";

const form = document.forms.namedItem("connect");
const callForm = document.forms.namedItem("call");
const log = document.querySelector("#log");

function show(text, kind = "") {
  const line = document.createElement("li");
  line.textContent = text;
  line.className = kind;
  log.append(line);
}

/** The text of a field of a form. */
function field(form, name) {
  return form.elements.namedItem(name);
}

const commands = new Commands();
commands.prefix("page").handle("greet", (name, { caller }) => {
  show(`twin ${caller.twin} greets as ${name}`);
  return `Hello ${name}, from a page of ${location.host}`;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const secret = field(form, "secret");
  form.querySelector("button").disabled = true;
  let registry;
  try {
    registry = await TfchainRegistry.connect({ urls: [field(form, "substrate").value] });
    const client = await Client.connect({
      secret: secret.value,
      registry,
      relays: [field(form, "relay").value],
      session: "page",
      commands,
    });
    secret.value = ""; // From now on only the client has it.
    show(`connected as twin ${client.twin}, reached at ${client.twin}:page`, "good");
    callForm.hidden = false;
    callForm.onsubmit = (event) => {
      event.preventDefault();
      void call(client);
    };
  } catch (error) {
    show(String(error), "bad");
    await registry?.[Symbol.asyncDispose]();
    form.querySelector("button").disabled = false;
  }
});

async function call(client) {
  const [twin, session] = field(callForm, "destination").value.split(":");
  const command = field(callForm, "command").value;
  try {
    const data = JSON.parse(field(callForm, "data").value);
    const start = performance.now();
    const answer = await client.call(Number(twin), command, data, { session, timeout: 10_000 });
    const time = Math.round(performance.now() - start);
    show(`${command} answers ${JSON.stringify(answer)} after ${time} ms`, "good");
  } catch (error) {
    show(String(error), "bad");
  }
}
