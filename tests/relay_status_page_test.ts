/** The relay's status page, as people see it in a browser. */
import assert from "node:assert/strict";
import { TestBrowser } from "./fixtures/browser.ts";
import { inTime, until } from "./fixtures/deadline.ts";
import { RelayNetwork } from "./fixtures/relay_network.ts";

const REQUEST = { case: "request", value: { command: "do" } } as const;

/** Text of a part of the page. */
function textOf(page: Awaited<ReturnType<TestBrowser["open"]>>, selector: string): Promise<string> {
  return page.locator(selector).innerText();
}

Deno.test("a relay's status page shows what goes on, live, on any screen", async (t) => {
  await using other = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      await request.body?.cancel();
      return new Response(null, { status: 202 });
    },
  );
  const name = `localhost:${other.addr.port}`;
  await using network = await RelayNetwork.start([7, 8, 9, 10], {
    elsewhere: { 9: name, 10: "rude-words.invalid" },
    args: ["--federation-scheme", "http"],
  });
  await using sender = await network.connect(7, "secret-session");
  await using receiver = await network.connect(8);
  const stop = new AbortController();
  const traffic = (async () => {
    while (!stop.signal.aborted) {
      for (let i = 0; i < 20; i++) {
        sender.send({ destination: { twin: 8 }, message: REQUEST });
        await receiver.next();
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  sender.send({ destination: { twin: 8, connection: "away" }, message: REQUEST });
  for (const twin of [9, 10]) sender.send({ destination: { twin }, message: REQUEST });

  await using browser = await TestBrowser.start();
  const { http } = network.relay;
  const page = await browser.open(`${http}/`);
  const chart = (title: string) => `figure:has(figcaption > span:text-is("${title}"))`;

  await t.step("with numbers and lines", async () => {
    await page.waitForSelector(`${chart("Sessions")} b:text-is("2")`);
    assert.match(await textOf(page, "#state"), /^Running since .+/);
    assert.match(await textOf(page, "#time"), /^As of \d/);
    assert.match(
      await textOf(page, `${chart("Queued for sessions")} figcaption`),
      /\b1 messages/,
    );
    assert.match(await textOf(page, `${chart("Bytes a second")} figcaption`), /[1-9].* kB in/);
    assert.match(
      await textOf(page, `${chart("Delivery time")} figcaption`),
      /\d (µs|ms|s) median/,
    );
    for (const title of ["Sessions", "Messages a second", "Bytes a second", "Delivery time"]) {
      const path = await page.locator(`${chart(title)} path`).first().getAttribute("d");
      assert.match(path ?? "", /^M600\.0 \d/, title);
    }
  });

  await t.step("with other relays, by name where they took something", async () => {
    const row = (of: string) => page.waitForSelector(`#relays tr:has(th:text-is("${of}"))`);
    assert.equal(await (await row(name)).innerText(), `${name}\tgood\t1\t0`);
    assert.match(await (await row("all others")).innerText(), /^all others\tfailing\t0\t[1-9]/);
  });

  await t.step("live", async () => {
    const line = () => page.locator(`${chart("Messages a second")} path`).first().getAttribute("d");
    const before = await line();
    await until(
      async () => await line() !== before && /L/.test(await line() ?? ""),
      "a longer line",
    );
  });

  await t.step("to be read point by point", async () => {
    const svg = page.locator(`${chart("Sessions")} svg`);
    const { width } = (await svg.boundingBox())!;
    await svg.hover({ position: { x: width - 2, y: 20 } });
    assert.match(await textOf(page, `${chart("Sessions")} .when`), /\d:\d\d/);
    await page.mouse.move(0, 0);
    assert.equal(await textOf(page, `${chart("Sessions")} .when`), "highest: 2");
    await svg.press("ArrowLeft");
    assert.match(await textOf(page, `${chart("Sessions")} .when`), /^at \d+:\d\d/);
    await svg.blur();
    assert.equal(await textOf(page, `${chart("Sessions")} .when`), "highest: 2");
  });

  await t.step("on a phone, in the dark", async () => {
    const phone = await browser.open(`${http}/`, { width: 360, height: 740, colorScheme: "dark" });
    await phone.waitForSelector(`${chart("Sessions")} b:text-is("2")`);
    const [scroll, client, color] = await phone.evaluate(() => {
      // deno-lint-ignore no-explicit-any -- this runs in the page
      const { document, getComputedStyle } = globalThis as any;
      const { scrollWidth, clientWidth } = document.documentElement;
      return [scrollWidth, clientWidth, getComputedStyle(document.body).backgroundColor];
    });
    assert.equal(scroll, client);
    assert.equal(color, "rgb(18, 22, 28)");
    await phone.close();
  });

  await t.step("and nothing that is not for everyone", async () => {
    const json = await (await fetch(`${http}/status.json`)).text();
    for (const secret of ["secret-session", "away", "127.0.0.1", "rude", "relay.test"]) {
      assert.ok(!json.includes(secret), `${secret} in ${json}`);
    }
    const response = await fetch(`${http}/`);
    const html = await response.text();
    assert.ok(html.length < 40_000, `${html.length} characters`);
    assert.doesNotMatch(html, /(?:src|href)="(?:https?:)?\/\//);
    const policy = response.headers.get("content-security-policy")!;
    assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-/);
    const head = await fetch(`${http}/`, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(await head.text(), "");
  });

  await t.step("also that the relay is gone, and is back", async () => {
    stop.abort();
    await inTime(traffic, "the end of the traffic");
    await network.relay.program.stop();
    let failures = 0;
    page.on("requestfailed", () => failures++);
    await page.waitForSelector("#state.bad:has-text('Not reachable since')");
    const said = await textOf(page, "#state");
    const before = failures;
    await until(() => failures > before, "another try");
    assert.equal(await textOf(page, "#state"), said);
    await network.restart();
    await page.waitForSelector("#state:not(.bad):has-text('Running since')");
    await page.waitForSelector(`${chart("Sessions")} b:text-is("0")`);
  });

  const complaints = browser.errors.filter((text) => !/Failed to load resource/.test(text));
  assert.deepEqual(complaints, []);
});

Deno.test("a relay shows no page when it is told not to", async () => {
  await using network = await RelayNetwork.start([7], { args: ["--no-status-page"] });
  for (const path of ["/", "/status.json"]) {
    const response = await fetch(`${network.relay.http}${path}`);
    assert.equal(response.status, 404);
    assert.equal(await response.text(), "page not found\n");
  }
  assert.equal(await (await fetch(`${network.relay.http}/health`)).text(), "ready\n");
  await using session = await network.connect(7);
  assert.deepEqual(await session.settled(), []);
});
