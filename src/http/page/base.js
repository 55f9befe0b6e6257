"use strict";

/* What both pages use */

const $ = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** A key that the server has accepted, or is to be asked about. */
const key = {
  get: () => sessionStorage.getItem("key"),
  set: (value) => sessionStorage.setItem("key", value),
  forget: () => sessionStorage.removeItem("key"),
};

function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key.get()) headers.set("x-api-key", key.get());
  return fetch(path, { ...options, headers });
}

/** A word of a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The command that sends such a request; a key is left to a variable, so that no history holds it. */
function curl(url, { method = "GET", type = null, body = null } = {}) {
  const words = ["curl"];
  if (method !== "GET" && !(method === "POST" && body)) words.push("-X", method);
  if (body) words.push(...body);
  if (type) words.push("-H", quoted(`content-type: ${type}`));
  if (key.get()) words.push("-H", '"x-api-key: $REPSERVE_KEY"');
  return [...words, quoted(url)].join(" ");
}

/** Bytes for people, in tenths of a unit that are rounded up, so that what is beyond a limit does not look like it. */
function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const [unit, name] = bytes < 1024 ** 2 ? [1024, "KiB"] : [1024 ** 2, "MiB"];
  return `${Math.ceil((10 * bytes) / unit) / 10} ${name}`;
}
