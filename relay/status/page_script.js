/**
 * The script of the status page. It is put into the page as it stands: it can use nothing from outside.
 */
export function statusPage() {
  const HOUR = 3600;
  const WIDTH = 600;
  const HEIGHT = 120;
  const SVG = "http://www.w3.org/2000/svg";

  const whole = (value) => Math.round(value).toLocaleString("en");
  const number = (value) => value > 0 && value < 10 ? value.toFixed(1) : whole(value);
  const bytes = (value) => {
    const units = ["B", "kB", "MB", "GB"];
    let unit = 0;
    for (; value >= 999.5 && unit < 3; unit++) value /= 1000;
    return `${value >= 99.5 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
  };
  const time = (value) =>
    value >= 1000
      ? `${(value / 1000).toFixed(1)} s`
      : `${
        value < 1 ? value.toPrecision(2) : value < 10 ? value.toFixed(1) : Math.round(value)
      } ms`;

  /** The charts: a title, how values are written, the series with their names, whether logarithmic. */
  const charts = [
    ["Sessions", whole, [["sessions", "connected"]]],
    ["Messages a second", number, [["messagesIn", "in"], ["messagesOut", "out"]]],
    ["Bytes a second", bytes, [["bytesIn", "in"], ["bytesOut", "out"]]],
    ["Queued for sessions", whole, [["queued", "messages"]]],
    ["Queued for other relays", whole, [["held", "messages"]]],
    ["Delivery time", time, [["halfWithin", "median"], ["mostWithin", "for 99 %"]], true],
  ];

  let data;
  /** When the relay could be reached no more. */
  let lostAt;

  function element(name, parent, text = "", attributes = {}) {
    const made = name === "svg" || parent?.namespaceURI === SVG
      ? document.createElementNS(SVG, name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== "") made.textContent = text;
    parent?.append(made);
    return made;
  }

  const views = charts.map(([title, format, series, isLogarithmic = false]) => {
    const figure = element("figure", document.querySelector("#charts"));
    const caption = element("figcaption", figure);
    element("span", caption, title);
    const values = series.map(([, label], i) => {
      const value = element("span", caption, "", { class: `value series-${i}` });
      if (series.length > 1) element("i", value, "", { "aria-hidden": "true" });
      const shown = element("b", value, "–");
      element("small", value, ` ${label}`);
      return shown;
    });
    const svg = element("svg", figure, "", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      tabindex: 0,
    });
    const lines = series.map((_, i) => element("path", svg, "", { class: `line series-${i}` }));
    const cursor = element("line", svg, "", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
    const scale = element("div", figure, "", { class: "scale" });
    element("span", scale, "1 h ago");
    const when = element("span", scale, "", { class: "when" });
    element("span", scale, "now");
    const view = { title, format, series, isLogarithmic, ...{ values, svg, lines, cursor, when } };
    svg.addEventListener("pointermove", ({ offsetX }) => look(offsetX / svg.clientWidth));
    svg.addEventListener("pointerleave", () => look(undefined));
    svg.addEventListener("blur", () => look(undefined));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined || data === undefined || data.times.length === 0) return;
      event.preventDefault();
      const last = data.times.length - 1;
      const at = Math.min(Math.max((lookedAt ?? last) + step, 0), last);
      look(1 - (data.times[last] - data.times[at]) / HOUR);
    });
    return view;
  });

  /** The sample that all charts are read at; undefined for the last one. */
  let lookedAt;
  let readTime;

  /** Shows all charts as they were at a part of the hour; undefined for now. */
  function look(part) {
    if (data === undefined) return;
    const { times } = data;
    const end = times.at(-1);
    let at = times.length - 1;
    if (part !== undefined && at >= 0) {
      const wanted = end - (1 - part) * HOUR;
      at = times.reduce(
        (best, time, i) => Math.abs(time - wanted) < Math.abs(times[best] - wanted) ? i : best,
        0,
      );
    }
    lookedAt = part === undefined || at < 0 ? undefined : at;
    readTime = times[at];
    for (const { values, series, format, cursor, when, most } of views) {
      series.forEach(([name], i) => {
        const value = data.series[name][at] ?? null;
        values[i].textContent = value === null ? "–" : format(value);
      });
      const x = part === undefined || at < 0 ? -9 : WIDTH * (1 - (end - times[at]) / HOUR);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      when.textContent = part === undefined ? most : at < 0 ? "" : `at ${clock(times[at])}`;
    }
  }

  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

  function draw() {
    const { times, series, interval } = data;
    const end = times.at(-1);
    for (const view of views) {
      const all = view.series.flatMap(([name]) => series[name].filter((value) => value !== null));
      const most = Math.max(...all, 0);
      const full = most || 1;
      // From half of the lowest, so that it is above the ground.
      const low = Math.log(Math.min(...all.filter((value) => value > 0), full) / 2);
      const height = view.isLogarithmic
        ? (value) => Math.max(0, (Math.log(value) - low) / (Math.log(full) - low))
        : (value) => value / full;
      view.series.forEach(([name], i) => {
        let path = "";
        let before;
        series[name].forEach((value, at) => {
          if (value === null) return before = undefined;
          const isGap = before === undefined || times[at] - before > 2.5 * interval;
          const x = (WIDTH * (1 - (end - times[at]) / HOUR)).toFixed(1);
          const y = (HEIGHT - 2 - (HEIGHT - 6) * height(value)).toFixed(1);
          // A value by itself is a dot.
          path += isGap ? `M${x} ${y}h.5` : `L${x} ${y}`;
          before = times[at];
        });
        view.lines[i].setAttribute("d", path);
      });
      view.most = all.length > 0
        ? `highest: ${view.format(most)}${view.isLogarithmic ? ", logarithmic" : ""}`
        : "nothing yet";
      const now = view.series.map(([name, label]) => {
        const value = series[name].at(-1) ?? null;
        return `${value === null ? "none" : view.format(value)} ${label}`;
      });
      view.svg.setAttribute("aria-label", `${view.title}: now ${now.join(", ")}`);
    }
    // Who reads a point of the past goes on reading it.
    const read = lookedAt === undefined ? undefined : times.indexOf(readTime);
    look(read === undefined || read < 0 ? undefined : 1 - (end - times[read]) / HOUR);
    drawRelays();
  }

  function drawRelays() {
    const body = document.querySelector("#relays");
    body.replaceChildren();
    document.querySelector("#federation").hidden = data.relays.length === 0;
    for (const { name, taken, failed, takenLately, failedLately } of data.relays) {
      const row = element("tr", body);
      const state = takenLately + failedLately === 0
        ? "idle"
        : failedLately === 0
        ? "good"
        : takenLately === 0
        ? "failing"
        : "unsteady";
      const head = element("th", row, "", { scope: "row" });
      for (const part of (name || "all others").split(/(?<=\.)/)) {
        head.append(part, document.createElement("wbr"));
      }
      element("span", element("td", row), state, { class: `state ${state}` });
      element("td", row, whole(taken));
      element("td", row, whole(failed));
    }
  }

  /** Says how it is; only what is new, because it may be read aloud. */
  function say(text, time, isBad) {
    const state = document.querySelector("#state");
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("bad", isBad);
    document.querySelector("#time").textContent = time;
  }

  async function update() {
    try {
      const since = data?.times.at(-1) ?? 0;
      const response = await fetch(`status.json?since=${since}`, {
        signal: AbortSignal.timeout(8000),
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const next = await response.json();
      if (data !== undefined && data.started === next.started) {
        // Numbers that come again, after the relay's clock was put back or after long, take the old ones' place.
        const to = next.times[0] ?? Infinity;
        const from = (next.times.at(-1) ?? data.times.at(-1)) - HOUR;
        const isKept = (_, i) => data.times[i] > from && data.times[i] < to;
        for (const name of Object.keys(next.series)) {
          next.series[name].unshift(...data.series[name].filter(isKept));
        }
        next.times.unshift(...data.times.filter(isKept));
      }
      data = next;
      lostAt = undefined;
      const last = data.times.at(-1);
      say(
        `Running since ${new Date(data.started * 1000).toLocaleString()}`,
        last === undefined ? `First numbers in ${data.interval} s` : `As of ${clock(last)}`,
        false,
      );
      draw();
    } catch {
      lostAt ??= new Date().toLocaleTimeString();
      const last = data?.times.at(-1);
      say(
        `Not reachable since ${lostAt}${last === undefined ? "" : ": these numbers are old"}`,
        last === undefined ? "" : `As of ${clock(last)}`,
        true,
      );
    }
    setTimeout(update, (data?.interval ?? 10) * 1000);
  }
  update();
}
