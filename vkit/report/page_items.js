// The table of items: sorted by any column of any run, filtered, and the order in which the keys walk through them.

const MARKS = new Map([[true, ["✓", "✓ correct"]], [false, ["✗", "✗ wrong"]], [null, ["–", "– not scored"]]]);
const short = (value) => (value === null ? "–" : format(value, 3));
const share = (value) => (value === null ? "–" : percent(value));
const COLUMNS = [ // of each run: the key in its row, the column's head, how a value is written
  ["correct", "Mark", (value) => MARKS.get(value)[0]],
  ["ratio", "Ratio", short],
  ["length", "Tokens", String],
  ["V", "V", short],
  ["P", "P", short],
  ["image", "Image", share],
  ["first", "First token", share],
  ["steps", "Steps", String],
];
const RATIO_HEADS = { mean: "Ratio", sum: "Ratio, summed", max: "Ratio, highest" };

const order = items.map((_, index) => index); // of the items, as they are sorted
const list = { sort: "order", run: 0, descending: false, shown: order };

// Which items a filter shows, by their rows of all runs that have them.
const scored = (rows) => rows.every((row) => row.correct !== null);
const FILTERS = runs.length > 1 ? {
  all: ["all", () => true],
  correct: ["correct in every run", (rows) => rows.every((row) => row.correct === true)],
  wrong: ["wrong in every run", (rows) => rows.every((row) => row.correct === false)],
  differs: ["runs differ", (rows) => scored(rows) && new Set(rows.map((row) => row.correct)).size > 1],
} : {
  all: ["all", () => true],
  correct: ["correct", ([row]) => row.correct === true],
  wrong: ["wrong", ([row]) => row.correct === false],
  unscored: ["not scored", ([row]) => row.correct === null],
};

function address(item, run, token = 0) {
  return `#${new URLSearchParams({ run, item: items[item].id, token })}`;
}

// ---- Head and rows, made once ----

function makeHead() {
  const names = element("tr", {}, element("td"));
  const heads = element("tr", {}, columnHead("order", 0, "Item"));
  for (const [run, { name, reduce }] of runs.entries()) {
    const shown = { textContent: visible(name), title: visible(name) };
    names.append(element("th", { colSpan: COLUMNS.length, scope: "colgroup", ...shown }));
    for (const [key, head] of COLUMNS) {
      heads.append(columnHead(key, run, key === "ratio" ? RATIO_HEADS[reduce] : head));
    }
  }
  document.querySelector("#items thead").append(...(runs.length > 1 ? [names, heads] : [heads]));
}

function columnHead(key, run, textContent) {
  const button = element("button", { type: "button", textContent, onclick: () => sortBy(key, run) });
  Object.assign(button.dataset, { sort: key, run });
  const head = element("th", { scope: "col" }, button);
  head.classList.toggle("first", key === "correct");
  return head;
}

function makeRow(item, index) {
  const first = item.runs.findIndex((row) => row !== null);
  const name = named(item.id);
  const link = element("a", { href: address(index, first), textContent: name, title: name, tabIndex: -1 });
  const row = element("tr", {}, element("th", { scope: "row" }, link));
  row.dataset.item = index;
  for (const [run, figures] of item.runs.entries()) {
    row.append(...COLUMNS.map(([key, , written]) => {
      const cell = element("td", { textContent: figures ? written(figures[key]) : "" });
      cell.dataset.run = figures ? run : first;
      if (key !== "correct") return cell;
      cell.className = `first ${figures?.correct === false ? "wrong" : ""}`;
      cell.title = cell.ariaLabel = figures ? MARKS.get(figures.correct)[1] : `not in ${runs[run].name}`;
      return cell;
    }));
  }
  return row;
}

const rows = items.map(makeRow);

// ---- Order and choice ----

function sortBy(key, run) {
  const again = key === list.sort && run === list.run;
  const descending = again ? !list.descending : !["order", "correct"].includes(key);
  Object.assign(list, { sort: key, run, descending });
  const rank = (index) => {
    if (key === "order") return index;
    const value = items[index].runs[run]?.[key];
    return typeof value === "boolean" ? Number(!value) : value ?? null;
  };
  order.sort((a, b) => {
    const [first, second] = [rank(a), rank(b)];
    if (first === null || second === null) return (first === null) - (second === null) || a - b; // last, always
    return (first - second) * (descending ? -1 : 1) || a - b;
  });
  listItems();
  document.querySelector("#items-view .scroll").scrollTop = 0;
}

function listItems() {
  const [, passes] = FILTERS[$("filter").value];
  const wanted = $("search").value.toLowerCase();
  list.shown = order.filter((index) => items[index].id.toLowerCase().includes(wanted)
    && passes(items[index].runs.filter((row) => row !== null)));
  document.querySelector("#items tbody").replaceChildren(...list.shown.map((index) => rows[index]));
  $("shown").textContent = list.shown.length === items.length ? `${items.length} items`
    : `${list.shown.length} of ${items.length} items`;
  for (const button of document.querySelectorAll("#items [data-sort]")) {
    const sorted = button.dataset.sort === list.sort && Number(button.dataset.run) === list.run;
    if (sorted) button.closest("th").ariaSort = list.descending ? "descending" : "ascending";
    else button.closest("th").removeAttribute("aria-sort");
  }
  markRow();
}

function markRow() { // Tab stops at one item only, the chosen one where it is on show; arrow keys go on from there
  const stop = list.shown.includes(state.index) ? state.index : list.shown[0];
  for (const [index, row] of rows.entries()) {
    row.classList.toggle("chosen", index === state.index);
    row.querySelector("a").tabIndex = index === stop ? 0 : -1;
  }
}

$("filter").append(...Object.entries(FILTERS).map(([value, [textContent]]) =>
  element("option", { value, textContent })));
$("filter").addEventListener("change", listItems);
$("search").addEventListener("input", listItems);

document.querySelector("#items tbody").addEventListener("click", ({ target }) => {
  const figure = target.closest("td"); // elsewhere in the row stands the link, which leads there itself
  if (figure) location.hash = address(Number(figure.closest("tr").dataset.item), figure.dataset.run);
});

document.querySelector("#items tbody").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const link = step && event.target.closest("tr")[step]?.querySelector("a");
  if (!link) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  link.tabIndex = 0;
  link.focus();
});
