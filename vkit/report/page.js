// What is shown: overview, table of items, or an item with its chosen token. The address says it, keys change it.

const state = { view: "overview", index: -1, run: 0, item: null, token: -1 };
const VIEWS = { overview: "overview", items: "items-view", item: "item-view" };

// ---- Views ----

function showView(view) {
  Object.assign(state, { view });
  for (const [name, id] of Object.entries(VIEWS)) $(id).hidden = name !== view;
  $("tab-overview").ariaCurrent = view === "overview" ? "page" : null;
  $("tab-items").ariaCurrent = view === "overview" ? null : view === "items" ? "page" : "true";
  hideCard();
  clearTimeout(addressDue);
}

function follow() { // the address
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("item")) return followItem(wanted);
  showView(wanted.has("items") ? "items" : "overview");
  scrollTo(0, 0);
  if (state.view === "items") {
    markRow();
    document.querySelector("#items tr.chosen")?.scrollIntoView({ block: "center" });
    document.querySelector('#items tbody a[tabindex="0"]')?.focus({ preventScroll: true });
  }
}

function followItem(wanted) {
  const index = items.findIndex(({ id }) => id.replace(/\p{Surrogate}/gu, "\ufffd") === wanted.get("item"));
  const figures = items[index]?.runs ?? [];
  const run = wanted.has("run") ? Number(wanted.get("run")) : figures.findIndex(Boolean);
  if (!figures[run]) {
    Object.assign(state, { index, run: -1, item: null, token: -1 });
    showBar(wanted.get("item"), figures);
    const which = `${named(wanted.get("item"))}${index < 0 ? "" : ` of ${runs[run]?.name ?? "such a run"}`}`;
    return fail(`The page has no item ${which}; choose one under Items.`);
  }
  return choose(index, run, Number(wanted.get("token")) || 0);
}

// ---- The chosen item ----

async function choose(index, run, token) {
  const arriving = state.view !== "item";
  Object.assign(state, { index, run, item: null, token: -1 });
  const { id, runs: figures } = items[index];
  showBar(id, figures);
  if (arriving) scrollTo(0, 0);
  let item;
  try {
    item = await loadItem(figures[run].key);
  } catch (error) {
    if (state.index === index && state.run === run) fail(error.message);
    return;
  }
  if (state.index !== index || state.run !== run || state.view !== "item") return; // another was chosen meanwhile
  state.item = item;
  showItem(item);
  chooseToken(Math.min(Math.max(token, 0), item.tokens.length - 1));
  if (arriving) $("tokens").focus({ preventScroll: true });
}

function showBar(name, figures) { // of the item at state.index: where it stands, and which runs have it
  showView("item");
  const rank = list.shown.indexOf(state.index);
  $("item-title").textContent = `Item ${named(name)}`;
  $("place-in-list").textContent = rank < 0 ? "" : `${rank + 1} of ${list.shown.length}`;
  $("previous").disabled = rank <= 0;
  $("next").disabled = rank < 0 || rank === list.shown.length - 1;
  showRuns(figures);
}

function fail(message) {
  for (const id of ["item", "verdict"]) $(id).hidden = true;
  $("failure").hidden = false;
  $("failure").textContent = visible(message);
}

function showRuns(figures) {
  $("run-switch").hidden = $("run-key").hidden = figures.filter(Boolean).length < 2;
  $("run-switch").replaceChildren(...runs.map(({ name }, run) => element("button", {
    type: "button",
    textContent: visible(name),
    title: figures[run] ? visible(name) : `${visible(name)} has no such item`,
    disabled: !figures[run],
    ariaPressed: String(run === state.run),
    onclick: () => switchRun(run),
  })));
}

function showItem(item) {
  $("failure").hidden = true;
  for (const id of ["item", "verdict"]) $(id).hidden = false;
  $("question").textContent = visible(item.question);
  $("choices").replaceChildren(...item.choices.map((choice) => element("li", { textContent: visible(choice) })));
  $("answer").textContent = visible(item.answer ?? "unknown");
  $("extracted").textContent = visible(item.extracted ?? "none found");
  $("mark").textContent = MARKS.get(item.correct)[1];
  $("mark").className = item.correct === false ? "wrong" : "";
  $("no-picture").textContent = !item.picture ? "This item has no picture, so there is no overlay."
    : !item.tokens.length ? "No overlay: there is no token to draw it for."
    : !item.map ? "No overlay: where this model’s image tokens lie in the picture is unknown."
    : item.map.unplaced ? `Not drawn: image tokens outside the picture (${item.map.unplaced}).` : "";
  $("frame").hidden = !item.picture;
  $("item").classList.toggle("bare", !item.picture);
  $("controls").hidden = !item.map;
  for (const id of ["along-title", "steps-title"]) $(id).closest("section").hidden = !item.tokens.length;
  $("table").open = false;
  $("table").querySelector("div").replaceChildren();
  showOutput(item);
  if (item.tokens.length) showCourses(item);
  showSteps(item);
  showHeads(item);
}

on("table", "toggle", () => {
  if (!$("table").open) return;
  const { item } = state;
  const heads = ["Position", "Token", "Ratio", "V", "P", "Image share", "First-token share", "Step"];
  const figures = [item.ratio, item.V, item.P, item.shares.image, item.shares.first_token];
  const row = (kind, texts) => element("tr", {}, ...texts.map((textContent) => element(kind, { textContent })));
  $("table").querySelector("div").replaceChildren(element("table", {}, element("thead", {}, row("th", heads)),
    element("tbody", {}, ...item.tokens.map((piece, j) =>
      row("td", [j, named(piece), ...figures.map((values) => format(values[j])), stepOf(item, j) + 1 || "none"])))));
});

// ---- The chosen token ----

let addressDue; // browsers refuse addresses that change as fast as a held key repeats

function chooseToken(index) {
  const { item } = state;
  if (!item) return;
  if ($(`token-${state.token}`)) $(`token-${state.token}`).ariaSelected = "false";
  state.token = index;
  hideCard();
  showToken(item, index);
  if (index >= 0) markCourses(item, index);
  markStep(item, index);
  showProfile(item, index);
  if (cell.layer >= 0) readCell(cell.layer, cell.head);
  drawPicture();
  clearTimeout(addressDue);
  const here = address(state.index, state.run, Math.max(index, 0));
  addressDue = setTimeout(() => history.replaceState(null, "", here), 200);
}

// ---- Going on: to another item, another run, back ----

function switchRun(run) { // the same position, where the other answer is long enough
  choose(state.index, run, Math.max(state.token, 0)).then(() =>
    document.querySelector('#run-switch [aria-pressed="true"]').focus({ preventScroll: true }));
}

function goOn(step) {
  const rank = list.shown.indexOf(state.index);
  const next = list.shown[rank + step];
  if (next === undefined || rank < 0) return;
  const run = items[next].runs[state.run] ? state.run : items[next].runs.findIndex(Boolean);
  choose(next, run, 0);
}

function nextRun() {
  if (state.index < 0) return;
  const { runs: figures } = items[state.index];
  const others = runs.map((_, k) => (state.run + 1 + k) % runs.length);
  const run = others.find((other) => figures[other]);
  if (run !== state.run) choose(state.index, run, Math.max(state.token, 0));
}

$("previous").addEventListener("click", () => goOn(-1));
$("next").addEventListener("click", () => goOn(1));

addEventListener("keydown", (event) => {
  if (state.view === "overview" || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") {
    if (!$("card").hidden) return hideCard();
    if (event.target.type === "search" && event.target.value) return; // the browser empties it
    location.hash = state.view === "item" ? "#items" : "#";
    return;
  }
  if (state.view !== "item" || !$("keys").checked || event.target.closest("select")) return;
  ({ j: () => goOn(1), k: () => goOn(-1), r: nextRun })[event.key.toLowerCase()]?.();
});

for (const id of ["overlay", "scale", "marks-on"]) $(id).addEventListener("change", drawPicture);
on("token-scale", "change", colourTokens);
on("ramp", "change", () => {
  colourTokens();
  showHeads(state.item);
  showProfile(state.item, state.token);
  drawPicture();
});
$("keys").addEventListener("change", () => {
  for (const node of document.querySelectorAll(".letters")) node.classList.toggle("off", !$("keys").checked);
});

// ---- Start ----

$("count").textContent = items.length;
$("token-scale").options[1].disabled = runs.every(({ low }) => low === null);
makeHead();
listItems();
addEventListener("hashchange", follow);
follow();
