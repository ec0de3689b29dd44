// The attention of two models on the same solutions; overlay.js, before it, brings the colours and the data.
// Texts were made visible by puma_page.py and are only ever set as text.

const $ = (id) => document.getElementById(id);
const SIDES = ["before", "after"];
const chosen = { item: items[0], token: 0 };

const percent = (share) => `${(100 * share).toFixed(1)}%`;
const ratioText = (value) => (value === null ? "undefined" : value.toPrecision(3));
const sum = (values) => values.reduce((a, b) => a + b, 0);

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// ---- Problems ----

function listProblems() {
  $("problems").append(...items.map((item, index) => {
    const input = element("input", { type: "radio", name: "problem", id: `problem-${index}`, checked: !index,
      ariaLabel: `Problem ${item.id}`, onchange: () => choose(item) });
    return element("label", { title: item.id }, input,
      element("img", { src: item.picture.source, alt: "", width: 64, height: 64 }));
  }));
}

function choose(item) {
  Object.assign(chosen, { item, token: 0 });
  const ratios = SIDES.flatMap((side) => item[side].ratio).filter((value) => value !== null);
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)];
  const stripe = (value) => {
    const node = element("i", { className: value === null ? "undefined" : "" });
    if (value !== null) {
      node.style.backgroundColor = `rgb(${ramp("oranges", high > low ? (value - low) / (high - low) : 0)})`;
    }
    return node;
  };
  $("tokens").replaceChildren(...item.tokens.map((text, index) => {
    const [before, after] = SIDES.map((side) => item[side].ratio[index]);
    return element("span", { role: "option", id: `token-${index}`, ariaSelected: "false",
      ariaLabel: `${text}, ratio before ${ratioText(before)}, after ${ratioText(after)}` },
    element("b", { textContent: text }), stripe(before), stripe(after));
  }));
  $("lowest").textContent = ratios.length ? ratioText(low) : "undefined";
  $("highest").textContent = ratios.length ? ratioText(high) : "undefined";
  chooseToken(0);
}

// ---- Tokens ----

function chooseToken(index) {
  $(`token-${chosen.token}`)?.setAttribute("aria-selected", "false");
  chosen.token = index;
  const option = $(`token-${index}`);
  if (!option) return;
  option.setAttribute("aria-selected", "true");
  $("tokens").setAttribute("aria-activedescendant", option.id);
  $("token").textContent = chosen.item.tokens[index];
  $("position").textContent = `${index + 1} of ${chosen.item.tokens.length}`;
  draw();
}

$("tokens").addEventListener("click", ({ target }) => {
  const option = target.closest("[role=option]");
  if (option) chooseToken(Number(option.id.slice(6)));
});

$("tokens").addEventListener("keydown", (event) => {
  const last = chosen.item.tokens.length - 1;
  const to = { ArrowRight: chosen.token + 1, ArrowLeft: chosen.token - 1, Home: 0, End: last }[event.key];
  if (to === undefined || last < 0) return;
  event.preventDefault();
  chooseToken(Math.min(Math.max(to, 0), last));
  $(`token-${chosen.token}`).scrollIntoView({ block: "nearest" });
});

// ---- Both sides of the chosen token, in the same colours ----

function draw() {
  const { item, token } = chosen;
  const maps = SIDES.map((side) => item[side].maps[token]);
  const top = Math.max(...maps.flat());
  SIDES.forEach((side, index) => {
    const canvas = $(`map-${side}`);
    const { width, height } = item.picture;
    const enlarged = Math.max(1, constants.smallestSide / Math.max(width, height));
    Object.assign(canvas, { width: Math.round(width * enlarged), height: Math.round(height * enlarged) });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = enlarged < 2; // small print is sharper as it is
    context.drawImage(item.image, 0, 0, canvas.width, canvas.height);
    if (top) {
      const cells = cellsOf(item.boxes, canvas.width, canvas.height);
      paint(context, cells, density(cells, maps[index]), top, item.picture.ramp);
    }
    canvas.ariaLabel = `Picture of problem ${item.id}, ${side}: token ${token + 1} `
      + `${strongestPlace(item.boxes, maps[index])}.`;
    $(`ratio-${side}`).textContent = ratioText(item[side].ratio[token]);
    $(`image-${side}`).textContent = percent(sum(maps[index]));
    $(`cell-${side}`).textContent = percent(Math.max(...maps[index]));
    drawNumbers(side, maps[index]);
  });
  $("top").textContent = percent(top);
  fillBar($("map-bar"), (t) => ramp(item.picture.ramp, t).map((colour) => blend(255, colour, t))); // over white
}

function drawNumbers(side, map) {
  const [rows, columns] = chosen.item.grid;
  const row = (r) => element("tr", {}, ...map.slice(r * columns, (r + 1) * columns).map((share) =>
    element("td", { textContent: (100 * share).toFixed(1) })));
  $(`numbers-${side}`).replaceChildren(...[...Array(rows).keys()].map(row));
}

// ---- Start, once every picture can be drawn at once ----

Promise.all(items.map((item) => {
  item.image = Object.assign(new Image(), { src: item.picture.source });
  return item.image.decode();
})).then(() => {
  fillBar($("token-bar"), (t) => ramp("oranges", t));
  listProblems();
  choose(items[0]);
  document.body.dataset.ready = "yes";
});
