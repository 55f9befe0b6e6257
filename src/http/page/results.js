/* Pictures, and what became of them */

const AT_ONCE = 4;
const ATTEMPTS = 4;
const percent = (x) => (100 * x).toFixed(1) + " %";
const ms = (x) => (x < 10 ? x.toFixed(2) : x.toFixed(0)) + " ms";

let entries = [];
let waiting = [];
let running = 0;
let cleared = new AbortController();

function take(files, source = "file") {
  $("notice").textContent = "";
  const taken = [...files].map((file) => entry(file, source));
  if (!taken.length) return;
  entries = [...taken, ...entries];
  $("results-section").hidden = false;
  $("results").prepend(...taken.map(({ item }) => item));
  enqueue(taken);
}

function enqueue(some) {
  for (const one of some) Object.assign(one, { state: "waiting", classes: null, problem: null });
  waiting.push(...some);
  summarize();
  while (running < AT_ONCE && waiting.length) work();
}

async function work() {
  running += 1;
  while (waiting.length) await classify(waiting.shift(), cleared.signal);
  running -= 1;
}

function entry(file, source) {
  const image = make("img", { src: URL.createObjectURL(file), alt: "" });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  image.addEventListener("error", () => {
    URL.revokeObjectURL(image.src);
    image.replaceWith(make("span", { className: "none quiet small", textContent: "no preview" }));
  });
  const body = make("div", { className: "quiet", textContent: "waiting…" });
  const name = file.name || "picture";
  const caption = make("figcaption", {}, make("h3", { textContent: name }), make("span", { className: "quiet small", textContent: size(file.size) }));
  return { file, name, source, body, item: make("li", {}, make("figure", {}, image, caption), body), state: "waiting" };
}

function say(entry, text) {
  entry.body.className = "quiet";
  entry.body.removeAttribute("role");
  entry.body.textContent = text;
}

/** The path of a request: its model, where one was chosen, and how many classes. */
function target() {
  const parameters = new URLSearchParams({ top_k: String(topK()) });
  // Another version may have taken over: it is named only where there are several.
  if (chosen) parameters.set("model", chosen.name);
  if (chosen && several) parameters.set("version", chosen.version);
  return `/classify?${parameters}`;
}

function topK() {
  const wanted = Math.round(Number($("top-k").value));
  return wanted >= 1 ? Math.min(wanted, 1000) : 1;
}

async function classify(entry, signal) {
  const { type, problem } = await inspect(entry.file);
  if (problem) return settle(entry, { problem }, signal);
  entry.type = type;
  let outcome;
  try {
    outcome = await attempts(entry, signal);
  } catch (error) {
    const gone = error instanceof TypeError;
    outcome = { problem: { title: gone ? "The server cannot be reached" : "The response cannot be read", detail: gone ? "“Classify again” tries once more." : error.message } };
  }
  settle(entry, outcome, signal);
}

/** Sends a picture, again where the server is busy or not ready yet. */
async function attempts(entry, signal) {
  for (let attempt = 1; ; attempt += 1) {
    say(entry, "classifying…");
    entry.path = target();
    const response = await ask(entry.path, { method: "POST", body: entry.file, headers: { "content-type": entry.type }, signal });
    if (response.ok) return succeeded(await response.json(), response.headers);
    const problem = await complaint(response);
    if (problem.code === "not_ready" && attempt < ATTEMPTS) {
      say(entry, "The model is not ready yet; this picture waits for it.");
      await pause(1000);
      await untilReady(signal);
    } else if (response.status === 429 && attempt < ATTEMPTS) {
      const seconds = Math.min(Math.max(Number(response.headers.get("retry-after")) || 1, 1), 10);
      say(entry, `The server is busy; trying again in ${seconds} s.`);
      await pause(1000 * seconds);
    } else {
      return { problem };
    }
    if (signal.aborted) return {};
  }
}

function succeeded(result, headers) {
  const stages = ["total", "decode", "queue", "inference"].map((name) => [name, Number(headers.get(`x-${name}-time`) || 0)]);
  return { model: result.model, version: result.version, classes: result.predictions[0].classes, times: Object.fromEntries(stages) };
}

/** What a response reports as wrong. */
async function complaint(response) {
  if (response.status === 401) needKey();
  try {
    const { title, detail, code } = await response.json();
    return { status: response.status, title, detail, code };
  } catch {
    return { status: response.status, title: `The server returned ${response.status}` };
  }
}

function settle(entry, outcome, signal) {
  if (signal.aborted) return;
  Object.assign(entry, outcome, { state: outcome.problem ? "failed" : "done" });
  if (outcome.problem) {
    showProblem(entry.body, outcome.problem);
  } else {
    entry.body.className = "";
    entry.body.removeAttribute("role");
    entry.body.replaceChildren(bars(entry.classes), ...timeline(entry.times));
    const [best] = entry.classes;
    $("spoken").textContent = best ? `${entry.name}: ${best.label}, ${percent(best.probability)}.` : `${entry.name}: no class.`;
    offerCommand(entry);
  }
  summarize();
}

function showProblem(body, { title, detail, code, status }) {
  body.className = "problem";
  body.setAttribute("role", "alert");
  body.replaceChildren(make("strong", { className: "bad", textContent: title }));
  if (detail) body.append(make("p", { textContent: detail }));
  if (code) body.append(make("p", { className: "quiet small" }, make("code", { textContent: `${status} ${code}` })));
}

function bars(classes) {
  if (!classes.length) return make("p", { className: "quiet", textContent: "No class is probable enough (the model's threshold)." });
  const list = make("ol", { className: "classes", ariaLabel: "Best classes" });
  for (const { label, probability } of classes) {
    const fill = make("span", { className: "fill" });
    fill.ariaHidden = "true";
    fill.style.width = percent(probability).replace(" ", "");
    list.append(make("li", {}, fill, make("span", { textContent: label }), make("span", { textContent: percent(probability) })));
  }
  return list;
}

function timeline({ total, ...stages }) {
  const named = Object.entries(stages);
  named.push(["rest", Math.max(0, total - named.reduce((sum, [, t]) => sum + t, 0))]);
  const bar = make("div", { className: "times" });
  bar.ariaHidden = "true";
  const legend = make("ul", { className: "legend", ariaLabel: "Time by stage" });
  for (const [name, t] of named) {
    const part = make("span", { className: name });
    part.style.flexGrow = String(t);
    bar.append(part);
    legend.append(make("li", {}, make("i", { className: name }), `${name} ${ms(t)}`));
  }
  legend.append(make("li", {}, make("b", { textContent: `total ${ms(total)}` })));
  return [bar, legend];
}

function summarize() {
  const count = (state) => entries.filter((entry) => entry.state === state).length;
  const [done, failed, open] = [count("done"), count("failed"), count("waiting")];
  const pictures = entries.length === 1 ? "1 picture" : `${entries.length} pictures`;
  $("summary").textContent = `${pictures}: ${done} done, ${failed} failed${open ? `, ${open} to do` : ""}.`;
  $("progress").hidden = open === 0;
  $("progress").max = Math.max(entries.length, 1);
  $("progress").value = done + failed;
  for (const id of ["csv", "json", "again"]) $(id).hidden = open > 0;
}

$("again").addEventListener("click", () => enqueue(entries));
$("clear").addEventListener("click", () => {
  cleared.abort();
  cleared = new AbortController();
  entries = [];
  waiting = [];
  $("results").replaceChildren();
  $("results-section").hidden = true;
  $("terminal").hidden = true;
  $("files").focus();
});

/* Saving what became of them */

/** A cell. Spreadsheets compute texts that begin like a formula, which the names of files from elsewhere may do. */
function cell(value) {
  const text = String(value ?? "");
  return `"${(typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}

function csv() {
  const columns = Math.max(1, ...entries.map(({ classes }) => classes?.length ?? 0));
  const numbers = Array.from({ length: columns }, (_, i) => i + 1);
  const head = ["file", "state", "model", "version", ...numbers.flatMap((n) => [`class_${n}`, `probability_${n}`]), "total_ms", "error"];
  const rows = entries.map(({ name, state, model, version, classes, times, problem }) => [
    name, state, model, version,
    ...numbers.flatMap((_, i) => [classes?.[i]?.label, classes?.[i]?.probability]),
    classes ? times.total : "", problem ? [problem.title, problem.detail].filter(Boolean).join(": ") : "",
  ]);
  return [head, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function json() {
  const results = entries.map(({ name, file, state, model, version, classes, times, problem }) => (
    problem ? { file: name, bytes: file.size, state, error: problem }
      : { file: name, bytes: file.size, state, model, version, classes, times_ms: times }));
  return JSON.stringify(results, null, 2) + "\n";
}

function save(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

$("csv").addEventListener("click", () => save("predictions.csv", "text/csv", csv()));
$("json").addEventListener("click", () => save("predictions.json", "application/json", json()));

/* The command that does the same */

function offerCommand(entry) {
  const here = location.origin;
  const example = entry.source === "example";
  const body = ["--data-binary", example ? "@-" : quoted(`@${entry.name}`)];
  const command = curl(here + entry.path, { method: "POST", type: entry.type, body });
  $("curl").textContent = example ? `curl -s ${quoted(`${here}/examples/${entry.name}`)} | ${command}` : command;
  $("copied").textContent = "";
  $("terminal").hidden = false;
}

$("copy").addEventListener("click", async () => {
  const text = $("curl").textContent;
  try {
    await navigator.clipboard.writeText(text);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("curl"));
    $("copied").textContent = "The browser allows no copying from this address; the command is selected, Ctrl+C copies it.";
  }
});

/* Where pictures come from */

$("files").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = "";
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files, "paste");
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
for (const button of document.querySelectorAll("#examples button")) {
  button.addEventListener("click", async () => {
    try {
      const picture = await (await ask(`/examples/${button.value}`)).blob();
      take([new File([picture], button.value, { type: picture.type })], "example");
    } catch {
      $("notice").textContent = "The drawing cannot be read: the server cannot be reached.";
    }
  });
}
