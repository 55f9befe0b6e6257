/* Whether the server is ready, its key, and the model */

const READY_EVERY_MS = 5000;
const LOADING_EVERY_MS = 1000;

/** What happens in each phase of loading, in the order of the phases. */
const PHASES = {
  start: "starting",
  read: "reading the model's file",
  runtime: "loading ONNX Runtime",
  cache: "looking into the start-up cache",
  fuse: "fusing the branches of each block into one convolution",
  verify: "comparing the fused graph with the original",
  quantize: "making the int8 graph and checking it",
  lower: "measuring which kernels are faster here",
  optimize: "optimizing the graph",
  sessions: "creating sessions",
  "warm-up": "running for the first time and measuring batch sizes",
};

let known = null;
let chosen = null;
let several = false;
let ready = false;
let wakeUp = [];

/** Returns when the server is ready, or nobody waits any more. */
function untilReady(signal) {
  ready = false;
  return new Promise((done) => {
    wakeUp.push(done);
    signal.addEventListener("abort", done);
    look();
  });
}

function showState(text, good, explanation = "") {
  $("state").textContent = text;
  $("state").className = good ? "good" : "bad";
  $("loading").hidden = !explanation;
  $("loading").textContent = explanation;
}

function showNotReady({ detail, code }) {
  const phase = /\(phase: ([\w-]+)\)/.exec(detail ?? "")?.[1];
  if (phase) {
    const what = PHASES[phase] ?? phase;
    return showState("loading", false, `The model is not ready yet: the server is ${what}. Pictures that you give now are classified as soon as it is.`);
  }
  const next = code === "draining" ? "The page looks again every second; another server may take over." : "The page looks again every second.";
  showState(code === "draining" ? "going down" : "not ready", false, `The server is not ready: ${detail}. ${next}`);
}

async function look() {
  try {
    const response = await fetch("/readyz");
    ready = response.ok;
    if (!ready) return showNotReady(await response.json());
    showState("ready", true);
    wakeUp.splice(0).forEach((done) => done());
    if (!known) await card();
  } catch {
    ready = false;
    known = null;
    showState("cannot be reached", false, "The server cannot be reached. The page tries again every second.");
  }
}

async function keepLooking() {
  for (;;) {
    await look();
    await pause(ready ? READY_EVERY_MS : LOADING_EVERY_MS);
  }
}

/** Offers the models that are served, where there are several. */
function offer(served) {
  const same = (a, b) => a && b && a.name === b.name && a.version === b.version;
  chosen = served.find((entry) => same(entry, chosen)) || served[0] || null;
  several = served.filter((entry) => entry.name === chosen?.name).length > 1;
  const list = $("models");
  list.hidden = served.length < 2;
  list.replaceChildren(...served.map((entry) => make("option", {}, `${entry.name} ${entry.version}`)));
  list.selectedIndex = served.indexOf(chosen);
  list.onchange = () => {
    chosen = served[list.selectedIndex];
    several = served.filter((entry) => entry.name === chosen.name).length > 1;
    known = null;
    card();
  };
}

async function card() {
  const index = await ask("/v2/repository/index", { method: "POST" });
  if (!index.ok) return void (await complaint(index));
  offer((await index.json()).filter((entry) => entry.state === "READY"));
  if (!chosen) return $("card").replaceChildren(...pairs("", [["State", "no model is served"]]));
  const path = [chosen.name, "versions", chosen.version].map(encodeURIComponent).join("/");
  const response = await ask(`/v2/models/${path}`);
  if (!response.ok) return;
  known = await response.json();
  $("model").textContent = `${known.name} ${chosen.version}`;
  $("top-k").max = String(Math.min(known.outputs[0].shape[1], 1000));
  describe(known, known.parameters || {});
}

function describe(model, facts) {
  const tiles = [
    ["blocks fused", facts.blocks_fused],
    ["convolutions", facts.source && `${facts.source.convolutions} → ${facts.deploy.convolutions}`],
    ["times as fast as the original", facts.speed && facts.speed.times_as_fast.toFixed(2)],
  ];
  const rows = [
    ["Name", `${model.name}, version ${chosen.version}`],
    ["Verified", verified(facts)],
    ["Speed", speed(facts)],
    ["Precision", precision(facts)],
    ["Input", `${model.inputs[0].name}: ${model.inputs[0].shape.slice(1).join(" × ")}`],
    ["Classes", model.outputs[0].shape[1]],
    ["Parameters", facts.source && `${facts.source.parameters.toLocaleString()} → ${facts.deploy.parameters.toLocaleString()}`],
    ["Decoder", facts.plan && facts.plan.decoder],
    ["Original graph", facts.source && hash(facts.source.sha256)],
    ["Fused graph", facts.deploy && hash(facts.deploy.sha256)],
  ];
  $("card").replaceChildren(...pairs("tile", tiles), ...pairs("", rows));
}

function verified({ equivalence, cached }) {
  if (!equivalence) return null;
  const { images, relative_error: worst, top1_agreement: same, tolerance } = equivalence;
  const when = cached ? "at an earlier start (start-up cache)" : "at this start";
  return `Fused and original graph were compared on ${images} random inputs ${when}. Largest relative error ${scientific(worst)}, `
    + `limit ${scientific(tolerance.relative_error_max)}; the same best class on ${share(same)} of them, at least ${share(tolerance.top1_agreement_min)} required.`;
}

function speed({ speed: measured, kernels, int8 }) {
  const sentences = [];
  if (measured) {
    sentences.push(`The original graph takes ${ms(measured.train_time_ms)} for an image in ONNX Runtime, the served one ${ms(measured.served_ms)}: `
      + `${measured.times_as_fast.toFixed(2)} times as fast (on one core, CPU time measured at the start).`);
  }
  if (kernels?.lowered) {
    const times = kernels.ms_onnxruntime / kernels.ms_lowered;
    sentences.push(`${kernels.lowered} convolutions run in repserve's own kernels: ${times.toFixed(2)} times as fast as the fused graph in ONNX Runtime.`);
  }
  if (int8?.served) sentences.push(`int8 is ${int8.times_as_fast.toFixed(2)} times as fast as fp32 in ONNX Runtime.`);
  return sentences.join(" ");
}

function precision({ precision: name, int8, auto }) {
  if (!int8) return auto ? `${name} (${auto.message})` : name;
  const { agreement } = int8;
  const compared = agreement?.images ? `; int8 and fp32 were compared on ${agreement.images} calibration images` : "";
  if (auto) return `${name} (${auto.message})${compared}`;
  return int8.served ? `${name}${compared}` : `${name} (int8 was refused: it differs too much)${compared}`;
}

const hash = (sha256) => make("code", { textContent: `sha256 ${sha256}` });
const share = (x) => `${Number((100 * x).toFixed(2))} %`;
const scientific = (x) => Number(x).toExponential(1).replace(".0e", "e");

function pairs(className, rows) {
  const there = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return there.map(([name, value]) => make("div", { className }, make("dt", { textContent: name }), make("dd", {}, value)));
}

/* API key */

function needKey() {
  const refused = key.get() !== null;
  if (refused) {
    key.forget();
    $("key-wrong").textContent = "The server does not accept this key. Check it for missing characters, or ask whoever runs the server.";
  }
  $("key").ariaInvalid = String($("key-wrong").textContent !== "");
  $("keys").hidden = false;
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key.set($("key").value);
  $("key-wrong").textContent = "";
  known = null;
  try {
    await card();
  } catch {
    $("key-wrong").textContent = "The server cannot be reached.";
    return;
  }
  if (key.get() === null) return $("key").select();
  $("keys").hidden = true;
  enqueue(entries.filter(({ problem }) => problem?.status === 401));
  measure();
});
