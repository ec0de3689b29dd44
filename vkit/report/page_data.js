// Texts, numbers, elements, and the items: each comes from its own file when it is first asked for, and the
// dozen asked for last are kept. Text of a record is only ever set as text, never as markup.

const { runs, folder, embedded } = data;
const KEPT_ITEMS = 12;

const $ = (id) => document.getElementById(id);

// ---- Text and numbers ----

// Control characters, marks of direction and halves of surrogate pairs are named, so that none hides or reorders.
// The two joiners stay: Persian, Hindi and families of emoji need them.
const UNSEEN = /(?![\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;
const codePoint = (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const visible = (text) => text.replace(UNSEEN, (c) => `⟨${codePoint(c)}⟩`);
const named = (piece) => visible(piece).replaceAll("\n", "↵") || "∅";

function format(value, digits = 4) {
  if (value === null || value === undefined) return "undefined";
  if (Math.abs(value.toPrecision(digits)) >= 10 ** digits) return value.toFixed(0);
  if (value === 0 || Math.abs(value) >= 0.001) return value.toPrecision(digits);
  const [figures, power] = value.toExponential(digits - 1).split("e");
  return `${figures} × 10${[...power].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}`;
}

const percent = (share) => (share === null || share === undefined ? "undefined" : `${(100 * share).toFixed(1)}%`);
const defined = (values) => values.filter((value) => value !== null);
const highest = (values) => values.reduce((a, b) => Math.max(a, b), 0);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);

function show(id, value) {
  $(id).textContent = format(value);
  $(id).value = value ?? "";
}

// ---- Elements ----

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function shape(name, attributes) { // an element of SVG
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function on(id, kind, handler) { // while an item loads, what still stands there of the one before takes no input
  $(id).addEventListener(kind, (event) => state.item && handler(event));
}

// ---- Items ----

const kept = new Map(); // from an item's key to the promise of it, the one asked for longest ago first
const awaited = new Map(); // from the key of a file that is being read to what takes its item

function vkitItem(key, item) { // every file beside the page is one call of this
  const take = awaited.get(key);
  awaited.delete(key);
  take?.(item);
}

function loadItem(key) {
  const found = () => (Object.hasOwn(embedded, key) ? Promise.resolve({ ...embedded[key] }) : readFile(key));
  const item = kept.get(key) ?? found();
  kept.delete(key);
  kept.set(key, item);
  item.catch(() => kept.delete(key)); // the next try reads the file again
  const idle = [...kept.keys()].find((each) => each !== key && !awaited.has(each));
  if (kept.size > KEPT_ITEMS && idle) kept.delete(idle);
  return item;
}

function readFile(key) {
  const script = element("script", { src: `${encodeURIComponent(folder)}/${key}.js` });
  const arrival = new Promise((resolve, reject) => {
    const missing = () => reject(new Error(`The item's file ${folder}/${key}.js is missing: keep the folder beside `
      + "the page, or write the page with --single-file"));
    awaited.set(key, resolve);
    Object.assign(script, { onerror: missing, onload: missing }); // loaded, but torn: its call never came
  });
  document.head.append(script);
  return arrival.finally(() => {
    awaited.delete(key);
    script.remove();
  });
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
