/* Live plots */

const SAMPLES = 60;
const EVERY_MS = 2000;
const LIVE_NOTE = "Predictions for all clients, over the last two minutes. Latency is that of served requests; refused ones are not in it.";
const history = [];
let before = null;

function parse(text) {
  const sample = { at: performance.now(), served: 0, refused: 0, buckets: new Map(), start: 0 };
  for (const line of text.split("\n")) {
    const found = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found) continue;
    const [, name, pairs = "", value] = found;
    if (name === "process_start_time_seconds") sample.start = Number(value);
    const labels = Object.fromEntries([...pairs.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]));
    const route = labels.route ?? "";
    if (route !== "/classify" && !/infer$/i.test(route)) continue;
    if (name === "repserve_http_requests_total") sample[labels.code < "400" ? "served" : "refused"] += Number(value);
    if (name === "repserve_request_duration_seconds_bucket" && labels.outcome === "served") {
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      sample.buckets.set(bound, (sample.buckets.get(bound) ?? 0) + Number(value));
    }
  }
  return sample;
}

// The quantile of what came in between two samples, interpolated within its bucket as Prometheus does.
function quantile(q, from, to) {
  const bounds = [...to.buckets.keys()].sort((a, b) => a - b);
  const counts = bounds.map((b) => to.buckets.get(b) - (from.buckets.get(b) ?? 0));
  const all = counts.at(-1) ?? 0;
  if (!all) return null;
  const at = counts.findIndex((count) => count >= q * all);
  const low = at > 0 ? bounds[at - 1] : 0;
  if (bounds[at] === Infinity) return low;
  const under = at > 0 ? counts[at - 1] : 0;
  return low + ((bounds[at] - low) * (q * all - under)) / (counts[at] - under);
}

async function measure() {
  if (document.hidden) return;
  let response;
  try {
    response = await ask("/metrics");
  } catch {
    return;
  }
  if (!response.ok) {
    $("plots").hidden = true;
    $("live-note").textContent = response.status === 401
      ? "The metrics need the API key."
      : "The metrics are not at this address; the server's operator can see them.";
    return;
  }
  $("plots").hidden = false;
  $("live-note").textContent = LIVE_NOTE;
  const now = parse(await response.text());
  if (before && before.start === now.start) {
    const seconds = (now.at - before.at) / 1000;
    const rate = (name) => (now[name] - before[name]) / seconds;
    history.push({ served: rate("served"), refused: rate("refused"), p50: quantile(0.5, before, now), p95: quantile(0.95, before, now) });
    if (history.length > SAMPLES) history.shift();
    draw();
  }
  before = now;
}

function draw() {
  const last = history.at(-1);
  const refused = () => (last.refused ? `, ${last.refused.toFixed(1)} refused or failed` : "");
  const rate = last ? `${last.served.toFixed(1)} a second${refused()}` : "measuring…";
  $("rate-now").textContent = rate;
  plot($("rate"), [history.map((s) => s.served), history.map((s) => s.refused)], (v) => `${v} / s`, `Requests: ${rate}`);
  const quantiles = () => (last.p50 === null ? "nothing served now" : `p50 ${ms(1000 * last.p50)}, p95 ${ms(1000 * last.p95)}`);
  const latency = last ? quantiles() : "measuring…";
  $("latency-now").textContent = latency;
  plot($("latency"), [history.map((s) => s.p50), history.map((s) => s.p95)], (v) => `${Number((1000 * v).toPrecision(3))} ms`, `Latency: ${latency}`);
}

// The next of 1, 2, 5, 10, 20, … that is no less.
function round(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= value * 0.999) ?? 10 * unit;
}

function plot(svg, series, text, label) {
  const NS = "http://www.w3.org/2000/svg";
  const node = (tag, attributes, content = "") => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = content;
    return element;
  };
  const { clientWidth: width, clientHeight: height } = svg;
  const [left, right, above, below] = [52, width - 6, 8, height - 20];
  const values = series.flat().filter((v) => v !== null && v > 0);
  const top = values.length ? round(Math.max(...values)) : 0;
  const x = (i) => left + ((i + SAMPLES - series[0].length) * (right - left)) / (SAMPLES - 1);
  const y = (part) => below - part * (below - above);
  const nodes = [0, 0.5, 1].flatMap((part) => [
    node("line", { class: "grid", x1: left, x2: right, y1: y(part), y2: y(part) }),
    node("text", { x: left - 6, y: y(part) + 4, "text-anchor": "end" }, part && top ? text(part * top) : part ? "" : "0"),
  ]);
  nodes.push(node("text", { x: left, y: height - 5 }, "2 minutes ago"));
  nodes.push(node("text", { x: right, y: height - 5, "text-anchor": "end" }, "now"));
  series.forEach((line, index) => {
    let d = "";
    line.forEach((v, i) => {
      if (v !== null) d += `${d && line[i - 1] !== null && i ? "L" : "M"}${x(i).toFixed(1)} ${y(top ? v / top : 0).toFixed(1)}h0`;
    });
    if (d) nodes.push(node("path", { class: "ab"[index], d }));
  });
  svg.replaceChildren(...nodes);
  svg.setAttribute("aria-label", label);
}

$("live-note").textContent = LIVE_NOTE;
new ResizeObserver(draw).observe($("plots"));
keepLooking();
measure();
setTimeout(measure, 500);
setInterval(measure, EVERY_MS);
