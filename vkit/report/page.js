// Shows the items in the page's data. Text of a record is only ever set as text, never as markup.

const $ = (id) => document.getElementById(id);
const state = { item: items[0], token: 0, sort: "order", descending: false };

const SHARES = { first_token: "First token", before_image: "Text before the image", image: "Image",
  question: "Question", prompt_rest: "Rest of the prompt", generated: "Generated text" };
const MARKS = new Map([[true, ["✓", "✓ correct"]], [false, ["✗", "✗ wrong"]], [null, ["–", "– not scored"]]]);
const SORT_KEYS = { order: (item) => items.indexOf(item), mark: (item) => [true, false, null].indexOf(item.correct),
  ratio: (item) => item.reduced?.[constants.reduce] ?? -1, length: (item) => item.tokens.length };

// ---- Text and numbers ----

// Control characters, marks of direction and halves of surrogate pairs are named, so that none hides or reorders.
const CONTROLS = "\\0-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb";
const UNSEEN = new RegExp(`[${CONTROLS}\\ud800-\\udfff]`, "gu");
const codePoint = (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const visible = (text) => text.replace(UNSEEN, (c) => `⟨${codePoint(c)}⟩`);
const named = (piece) => visible(piece).replaceAll("\n", "↵") || "∅";

function format(value) {
  if (value === null || value === undefined) return "undefined";
  if (value === 0 || Math.abs(value) >= 0.001) return value.toPrecision(4);
  const [digits, power] = value.toExponential(3).split("e");
  return `${digits} × 10${[...power].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}`;
}

function show(id, value) {
  $(id).textContent = format(value);
  $(id).value = value ?? "";
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// ---- The list of items ----

function listItems() {
  const key = SORT_KEYS[state.sort];
  const sorted = [...items].sort((a, b) => (key(a) - key(b)) * (state.descending ? -1 : 1));
  for (const button of document.querySelectorAll("#items [data-sort]")) {
    const head = button.closest("th");
    const direction = state.descending ? "descending" : "ascending";
    if (button.dataset.sort === state.sort) head.setAttribute("aria-sort", direction);
    else head.removeAttribute("aria-sort");
  }
  document.querySelector("#items tbody").replaceChildren(...sorted.map((item) => {
    const button = element("button", { type: "button", textContent: named(item.id), title: named(item.id) });
    const [sign, words] = MARKS.get(item.correct);
    const row = element("tr", { onclick: () => choose(item, 0) }, element("td", {}, button),
      element("td", { textContent: sign, title: words, ariaLabel: words }),
      element("td", { className: "number", textContent: item.reduced?.[constants.reduce]?.toPrecision(3) ?? "–" }),
      element("td", { className: "number", textContent: item.tokens.length }));
    item.row = row;
    return row;
  }));
  markItem();
}

function markItem() { // Tab stops at the chosen item only; arrow keys go on from there
  for (const item of items) {
    const chosen = item === state.item;
    item.row.classList.toggle("chosen", chosen);
    const button = item.row.querySelector("button");
    button.tabIndex = chosen ? 0 : -1;
    if (chosen) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

document.querySelector("#items thead").addEventListener("click", ({ target }) => {
  const sort = target.dataset.sort;
  if (!sort) return;
  state.descending = sort === state.sort ? !state.descending : sort === "ratio" || sort === "length";
  state.sort = sort;
  listItems();
});

document.querySelector("#items tbody").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const button = step && event.target.closest("tr")[step]?.querySelector("button");
  if (!button) return;
  event.preventDefault();
  button.focus();
  button.click();
});

// ---- The chosen item ----

function choose(item, token) {
  Object.assign(state, { item, token: 0 });
  markItem();
  $("item-title").textContent = `Item ${named(item.id)}`;
  $("question").textContent = visible(item.question);
  $("choices").replaceChildren(...item.choices.map((choice) => element("li", { textContent: visible(choice) })));
  $("answer").textContent = visible(item.answer ?? "unknown");
  $("extracted").textContent = visible(item.extracted ?? "none found");
  $("mark").textContent = MARKS.get(item.correct)[1];
  $("no-picture").textContent = !item.picture ? "This item has no picture, so there is no overlay."
    : !item.map ? "No overlay: where this model’s image tokens lie in the picture is unknown."
    : item.map.unplaced ? `Not drawn: image tokens outside the picture (${item.map.unplaced}).` : "";
  $("picture").hidden = !item.picture;
  $("controls").hidden = !item.map;
  $("table").open = false;
  showOutput(item);
  chooseToken(Math.min(Math.max(token, 0), item.tokens.length - 1));
}

function showOutput(item) {
  const defined = item.ratio.filter((value) => value !== null);
  const [low, high] = [Math.min(...defined), Math.max(...defined)];
  $("tokens").replaceChildren(...item.tokens.flatMap((piece, index) => {
    const joined = visible(piece).replace(/^ /, "\u00a0"); // a blank stays with its word
    const text = joined.replaceAll("\n", "↵\n") || "∅";
    const option = element("span", { role: "option", id: `token-${index}`, textContent: text,
      ariaLabel: `${named(piece)}, ratio ${format(item.ratio[index])}` });
    if (item.ratio[index] === null) {
      option.className = "undefined";
    } else {
      const colour = ramp("oranges", high > low ? (item.ratio[index] - low) / (high - low) : 0);
      Object.assign(option.style, { backgroundColor: `rgb(${colour})`, color: inkOn(colour) });
    }
    return piece.startsWith(" ") ? [element("wbr"), option] : option;
  }));
  if (!item.tokens.length) $("tokens").textContent = "The model wrote nothing.";
  $("token-legend").hidden = !item.tokens.length;
  $("undefined-key").hidden = defined.length === item.tokens.length;
  show("lowest", defined.length ? low : null);
  show("highest", defined.length ? high : null);
}

$("table").addEventListener("toggle", () => {
  const { tokens, ratio, V, P, shares } = state.item;
  const row = (kind, cells) => element("tr", {}, ...cells.map((cell) => element(kind, { textContent: cell })));
  $("table").querySelector("div").replaceChildren(element("table", {},
    element("thead", {}, row("th", ["Position", "Token", "Ratio", "V", "P", "Image share"])),
    element("tbody", {}, ...tokens.map((piece, j) => row("td",
      [j, named(piece), format(ratio[j]), format(V[j]), format(P[j]), format(shares.image[j])])))));
});

// ---- The chosen token ----

function chooseToken(index) {
  const { item } = state;
  $(`token-${state.token}`)?.removeAttribute("aria-selected");
  state.token = index;
  const option = $(`token-${index}`);
  $("token-panel").hidden = !option;
  if (!option) return drawPicture();
  option.setAttribute("aria-selected", "true");
  $("tokens").setAttribute("aria-activedescendant", option.id);
  $("position").textContent = index;
  $("positions").textContent = `of 0 to ${item.tokens.length - 1}`;
  $("token").textContent = named(item.tokens[index]).replaceAll(" ", "␣");
  for (const key of ["ratio", "V", "P"]) show(key, item[key][index]);
  $("shares").tBodies[0].replaceChildren(...Object.entries(SHARES).map(([key, label]) => {
    const share = item.shares[key][index];
    const bar = element("span");
    bar.style.width = `${100 * (share ?? 0)}%`;
    const textContent = share === null ? "undefined" : `${(100 * share).toFixed(1)}%`;
    return element("tr", { className: key }, element("th", { scope: "row", textContent: label }),
      element("td", {}, bar), element("td", {}, element("data", { value: share ?? "", textContent })));
  }));
  drawCourse(item.ratio, index);
  drawPicture();
  history.replaceState(null, "", `#${new URLSearchParams({ item: item.id, token: index })}`);
}

function drawCourse(ratio, index) { // the curve of the ratio, broken where it is undefined, and where we are
  const svg = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const top = Math.max(...ratio.map((value) => value ?? 0)) || 1;
  const x = (j) => (400 * (j + 0.5)) / ratio.length;
  const point = (value, j) => `${j && ratio[j - 1] !== null ? "L" : "M"}${x(j)} ${62 - (58 * value) / top}h0.01`;
  const d = ratio.map((value, j) => (value === null ? "" : point(value, j))).join("");
  $("course").replaceChildren(svg("path", { d }), svg("line", { x1: x(index), x2: x(index), y1: 0, y2: 64 }));
}

$("tokens").addEventListener("click", ({ target }) => {
  if (target.role === "option") chooseToken(Number(target.id.slice(6)));
});

$("tokens").addEventListener("keydown", (event) => {
  const last = state.item.tokens.length - 1;
  const line = (direction) => { // the nearest token of the next line
    const here = $(`token-${state.token}`).getClientRects()[0];
    for (let j = state.token + direction, best = null; ; j += direction) {
      const box = $(`token-${j}`)?.getClientRects()[0];
      if (best && (!box || Math.abs(box.top - best.top) > 4)) return best.j;
      if (!box) return state.token;
      const distance = Math.abs(box.left - here.left);
      if (Math.abs(box.top - here.top) > 4 && (!best || distance < best.distance)) best = { j, distance, top: box.top };
    }
  };
  const move = { ArrowRight: () => state.token + 1, ArrowLeft: () => state.token - 1, ArrowDown: () => line(1),
    ArrowUp: () => line(-1), Home: () => 0, End: () => last }[event.key];
  if (!move || last < 0) return;
  event.preventDefault();
  chooseToken(Math.min(Math.max(move(), 0), last));
  $(`token-${state.token}`).scrollIntoView({ block: "nearest" });
});

for (const id of ["overlay", "scale"]) $(id).addEventListener("change", drawPicture);

// ---- Start: the item and token that the address names, or the first ----

function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  choose(items.find((item) => item.id === wanted.get("item")) ?? items[0], Number(wanted.get("token")) || 0);
}
fillBar($("token-bar"), (t) => ramp("oranges", t));
listItems();
addEventListener("hashchange", follow);
follow();
