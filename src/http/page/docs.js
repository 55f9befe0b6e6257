/* The API, from its description */

const RESPONSE_CHARS_MAX = 20_000;

let schemas = {};

// `code` in a description is code.
const prose = (text = "") => text.split("`").map((part, i) => (i % 2 ? make("code", { textContent: part }) : part));
const scroll = (child) => make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Table" }, child);
const table = (head, rows) => scroll(make("table", {},
  make("thead", {}, make("tr", {}, ...head.map((cell) => make("th", { scope: "col", textContent: cell })))),
  make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, ...[cell].flat())))))));
const block = (text, label) => make("pre", { tabIndex: 0, role: "group", ariaLabel: label, textContent: text });

const resolved = (schema = {}) => (schema.$ref ? schemas[schema.$ref.split("/").pop()] ?? {} : schema);
const typeName = (schema = {}) => schema.format === "binary" ? "bytes" : schema.$ref ? schema.$ref.split("/").pop() : [schema.type].flat().filter(Boolean).join(" or ") || "any";

function exampleOf(media) {
  const value = media.example ?? Object.values(media.examples ?? {})[0]?.value;
  return value === undefined || typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function content(name, body) {
  const nodes = [];
  for (const [type, media] of Object.entries(body.content ?? {})) {
    const example = exampleOf(media);
    nodes.push(make("h3", { textContent: `${name}: ${type} (${typeName(media.schema)})` }), example && block(example, `Example of ${type}`));
  }
  return nodes;
}

function operation(path, method, op) {
  const parts = [make("p", {}, ...prose(op.description))];
  if (op.parameters?.length) {
    parts.push(make("h3", { textContent: "Parameters" }), table(["Name", "In", "Type", "Meaning"],
      op.parameters.map((p) => [make("code", { textContent: p.name + (p.required ? " *" : "") }), p.in, typeName(p.schema), prose(p.description)])));
  }
  if (op.requestBody) parts.push(...content("Body", op.requestBody));
  parts.push(make("h3", { textContent: "Responses" }), table(["Status", "Meaning"],
    Object.entries(op.responses).map(([status, r]) => [status, prose(r.description)])));
  for (const [status, response] of Object.entries(op.responses)) {
    if (status.startsWith("2")) parts.push(...content(status, response));
  }
  return make("details", { id: op.operationId ?? "" },
    make("summary", {}, make("b", { textContent: method.toUpperCase() }), make("code", { textContent: path }), make("span", { textContent: op.summary ?? "" })),
    make("div", {}, ...parts, trial(path, method, op)));
}

/* Trying a call */

function fieldOf(parameter) {
  const { name, required, schema } = parameter;
  const type = [schema?.type].flat()[0];
  const attributes = { name, required: Boolean(required) };
  let input;
  if (type === "boolean") input = make("select", attributes, ...["", "true", "false"].map((value) => make("option", { value, textContent: value || "not given" })));
  else if (type === "integer") input = make("input", { ...attributes, type: "number", step: 1, min: schema.minimum ?? "" });
  else input = make("input", { ...attributes, type: "text", className: name === "model" && parameter.in === "path" ? "model" : "" });
  return { parameter, input, label: make("label", {}, `${name}${required ? " (required)" : ""}`, input) };
}

/** The field of a body of one media type, and how its content is sent. */
function bodyOf(type, media) {
  if (type === "multipart/form-data") {
    const input = make("input", { type: "file", multiple: true });
    const form = () => {
      const data = new FormData();
      for (const file of input.files) data.append("image", file);
      return data;
    };
    const words = () => [...input.files].flatMap((file) => ["-F", quoted(`image=@${file.name}`)]);
    return { label: make("label", {}, "Files", input), body: form, words, header: null };
  }
  const schema = resolved(media.schema);
  if (schema.format === "binary") {
    const input = make("input", { type: "file" });
    const words = () => ["--data-binary", quoted(`@${input.files[0]?.name ?? "FILE"}`)];
    return { label: make("label", {}, "File", input), body: () => input.files[0] ?? "", words, header: type };
  }
  const input = make("textarea", { value: exampleOf(media) ?? JSON.stringify(skeleton(media.schema), null, 2), spellcheck: false });
  return { label: make("label", {}, "Body", input), body: () => input.value, words: () => ["--data-binary", quoted(input.value)], header: type };
}

/** A value of the form that a schema describes. */
function skeleton(schema, depth = 0) {
  const { type, properties = {}, items, oneOf, anyOf } = resolved(schema);
  const other = (oneOf ?? anyOf)?.find((one) => one.type !== "null");
  if (depth > 4) return null;
  if (other) return skeleton(other, depth + 1);
  switch ([type].flat().find((name) => name !== "null")) {
    case "object": return Object.fromEntries(Object.entries(properties).map(([name, of]) => [name, skeleton(of, depth + 1)]));
    case "array": return items ? [skeleton(items, depth + 1)] : [];
    case "string": return "";
    case "boolean": return false;
    case "integer": case "number": return 0;
    default: return null;
  }
}

function trial(path, method, op) {
  const fields = (op.parameters ?? []).filter((p) => p.in === "path" || p.in === "query").map(fieldOf);
  const bodies = Object.entries(op.requestBody?.content ?? {}).map(([type, media]) => [type, bodyOf(type, media)]);
  const types = make("select", {}, ...bodies.map(([type]) => make("option", { textContent: type })));
  const place = make("div", {});
  const current = () => bodies[types.selectedIndex]?.[1];
  const show = () => place.replaceChildren(...(bodies.length ? [current().label] : []));
  types.addEventListener("change", show);
  show();
  const answer = make("div", { className: "answer", role: "status" });
  const form = make("form", { className: "try" },
    make("h3", { textContent: "Try it" }),
    ...fields.map(({ label }) => label),
    bodies.length > 1 ? make("label", {}, "Type of the body", types) : null,
    place,
    make("button", { className: "first", textContent: `Send ${method.toUpperCase()}` }),
    answer);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(answer, filled(path, fields), method.toUpperCase(), current());
  });
  return form;
}

/** The path and query with the fields' values. */
function filled(path, fields) {
  const query = new URLSearchParams();
  for (const { parameter, input } of fields) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(parameter.name, input.value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function send(answer, path, method, body) {
  const type = body?.header;
  const command = curl(location.origin + path, { method, type, body: body?.words() });
  answer.replaceChildren(make("p", { className: "quiet", textContent: "waiting…" }));
  try {
    const headers = type ? { "content-type": type } : {};
    const response = await ask(path, { method, headers, body: body?.body() });
    const text = await response.text();
    const pretty = readable(text);
    const cut = pretty.length > RESPONSE_CHARS_MAX ? `${pretty.slice(0, RESPONSE_CHARS_MAX)}\n… and ${pretty.length - RESPONSE_CHARS_MAX} characters more` : pretty;
    const sent = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    answer.replaceChildren(
      make("p", {}, make("strong", { className: response.ok ? "good" : "bad", textContent: `${response.status} ${response.statusText}` })),
      cut && block(cut, "Response"),
      make("h3", { textContent: "Headers" }), block(sent, "Headers"),
      make("h3", { textContent: "The same in a terminal" }), block(command, "Command"));
  } catch (error) {
    answer.replaceChildren(make("p", { className: "bad", textContent: `No response: ${error.message}` }));
  }
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/* Putting it together */

/** Puts the name of a model that is served where a path needs one. */
async function nameModels() {
  const response = await ask("/v2");
  if (!response.ok) return;
  const { models } = await response.json();
  for (const input of document.querySelectorAll("input.model")) input.value ||= models?.[0] ?? "";
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if ($("key").value) key.set($("key").value);
  else key.forget();
  const response = await ask("/v2");
  $("key-state").textContent = response.ok ? "The server accepts this key. It is kept until this tab closes."
    : response.status === 401 ? "The server does not accept this key." : `The server returned ${response.status}.`;
  if (response.status === 401) key.forget();
  $("key").ariaInvalid = String(!response.ok);
  if (response.ok) nameModels();
});

async function read() {
  const api = await (await fetch("/openapi.json")).json();
  schemas = api.components?.schemas ?? {};
  $("key-form").hidden = !api.components?.securitySchemes;
  $("version").textContent = api.info.version;
  $("about").append(...prose(api.info.description));
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const tag = op.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(path, method, op)]);
    }
  }
  $("operations").replaceChildren(...[...groups].flatMap(([tag, operations]) => [make("h2", { textContent: tag }), ...operations]));
  $("operations").ariaBusy = "false";
  await nameModels();
}

read().catch((error) => {
  $("operations").textContent = `openapi.json cannot be read: ${error.message}`;
});
