// The answer as a whole: figures along the output, its steps, its layers and heads.

const CURVES = [ // a curve's name, and what it shows
  ["Ratio", (item) => item.ratio, (value) => format(value, 3)],
  ["V", (item) => item.V, (value) => format(value, 3)],
  ["P", (item) => item.P, (value) => format(value, 3)],
  ["Image share", (item) => item.shares.image, percent],
];
const WIDTH = 1000; // of a chart's own coordinates; the page stretches it

// ---- Along the output: every chart has the same axis, and a line at the chosen token ----

function showCourses(item) {
  const count = item.tokens.length;
  const curves = CURVES.map(([name, values, written]) => {
    const known = defined(values(item));
    const title = element("div", { className: "name" }, element("b", { textContent: name }),
      element("span", { textContent: known.length ? `0 to ${written(highest(known))}` : "undefined" }));
    return course(item, title, 40, [shape("path", { class: "curve", d: curve(values(item), 40) })], name);
  });
  const key = element("div", { className: "name" }, element("b", { textContent: "Where attention goes" }),
    ...Object.entries(SHARES).map(([name, label]) =>
      element("span", { className: `key share-${name}` }, element("i"), label)));
  const areas = Object.keys(SHARES).map((name, k, names) => shape("path", { class: `share-${name}`,
    d: area(names.slice(0, k).map((under) => item.shares[under]), item.shares[name], count) }));
  const ends = ["token 0", count - 1].map((textContent) => element("span", { textContent }));
  const axis = element("div", { className: "course axis" }, element("span"), element("p", {}, ...ends),
    element("span"));
  $("courses").replaceChildren(...curves, course(item, key, 100, areas, "Shares"), axis);
}

function course(item, title, height, shapes, name) {
  const count = item.tokens.length;
  const box = shape("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none",
    "aria-hidden": "true" });
  const borders = item.steps.slice(1).map(([start]) => `M${(WIDTH * start) / count} 0v${height}`).join("");
  box.append(...shapes, shape("path", { class: "border", d: borders }), shape("path", { class: "here", d: "" }));
  box.addEventListener("click", ({ clientX }) => {
    const { left, width } = box.getBoundingClientRect();
    chooseToken(Math.min(Math.max(Math.floor((count * (clientX - left)) / width), 0), count - 1));
  });
  const value = element("output");
  value.dataset.name = name;
  return element("div", { className: "course" }, title, box, value);
}

function curve(values, height) { // broken where a value is undefined; a lone value is a dot
  const top = highest(defined(values)) || 1;
  return values.map((value, j) => {
    if (value === null) return "";
    const move = j && values[j - 1] !== null ? "L" : "M";
    return `${move}${(WIDTH * (j + 0.5)) / values.length} ${height - 2 - ((height - 6) * value) / top}h0.01`;
  }).join("");
}

function area(below, values, count) { // one part of the whole, each token as wide as any other
  const level = (share) => (100 - 100 * share).toFixed(2);
  const step = WIDTH / count;
  const floor = values.map((_, j) => below.reduce((sum, part) => sum + (part[j] ?? 0), 0));
  const upper = values.map((value, j) => `L${(step * j).toFixed(2)} ${level(floor[j] + (value ?? 0))}h${step}`);
  const lower = floor.map((sum, j) => `L${(step * (j + 1)).toFixed(2)} ${level(sum)}h${-step}`).reverse();
  return `M0 ${level(floor[0])}${upper.join("")}${lower.join("")}z`;
}

function markCourses(item, index) {
  const x = (WIDTH * (index + 0.5)) / item.tokens.length;
  for (const line of document.querySelectorAll("#courses .here")) line.setAttribute("d", `M${x} 0v100`);
  for (const [name, values, written] of CURVES) {
    document.querySelector(`#courses output[data-name="${name}"]`).textContent = written(values(item)[index]);
  }
}

// ---- Steps ----

function showSteps(item) {
  const ratios = item.steps.map(([start, end]) => mean(defined(item.ratio.slice(start, end))));
  const top = highest(defined(ratios)) || 1;
  $("steps").replaceChildren(...item.steps.map(([start, end], k) => {
    const bar = element("span", { className: "step-bar" });
    bar.style.width = `${(100 * (ratios[k] ?? 0)) / top}%`;
    const text = visible(item.tokens.slice(start, end).join("").trim()).replace(/\s+/g, " ");
    const number = (textContent) => element("span", { className: "number", textContent });
    return element("li", {}, element("button", { type: "button", onclick: () => chooseToken(start) },
      element("span", { className: "step-text", textContent: text.slice(0, 200) || "∅" }),
      element("span", { className: "track" }, bar),
      number(format(ratios[k], 3)),
      number(`${end - start} token${end - start === 1 ? "" : "s"}`)));
  }));
}

function markStep(item, index) {
  const step = stepOf(item, index);
  for (const [k, row] of [...$("steps").children].entries()) {
    row.classList.toggle("chosen", k === step);
    row.firstChild.ariaCurrent = k === step ? "step" : null;
  }
}

// ---- Layers and heads ----

const cell = { layer: -1, head: -1 };

function headFigures(heads) { // the shares, decoded once
  heads.bytes ??= { share: bytesOf(heads.share), byLayer: bytesOf(heads.byLayer) };
  const share = (layer, head) => (heads.bytes.share[layer * heads.heads + head] / 255) * heads.top;
  const ofToken = (token, layer) => (heads.bytes.byLayer[token * heads.layers + layer] / 255) * heads.layerTop;
  return { share, ofToken };
}

function showHeads({ heads }) {
  $("heads-box").hidden = !heads;
  $("no-heads").hidden = Boolean(heads);
  Object.assign(cell, { layer: -1, head: -1 });
  if (!heads) return;
  const { share } = headFigures(heads);
  Object.assign($("grid"), { width: heads.heads, height: heads.layers });
  const context = $("grid").getContext("2d");
  const pixels = context.createImageData(heads.heads, heads.layers);
  let best = [0, 0];
  for (let layer = 0; layer < heads.layers; layer++) {
    for (let head = 0; head < heads.heads; head++) {
      if (share(layer, head) > share(...best)) best = [layer, head];
      const colour = tint(heads.top ? share(layer, head) / heads.top : 0);
      pixels.data.set([...colour, 255], 4 * (layer * heads.heads + head));
    }
  }
  context.putImageData(pixels, 0, 0);
  $("grid").ariaLabel = `Image share of ${heads.layers} layers and ${heads.heads} heads. Highest: layer ${best[0]}, `
    + `head ${best[1]}, ${percent(share(...best))}. Arrow keys read the others.`;
  $("last-head").textContent = heads.heads - 1;
  $("last-layer").textContent = `layer ${heads.layers - 1}`;
  $("grid-top").textContent = percent(heads.top);
  $("profile-top").textContent = percent(heads.layerTop);
  fillBar($("grid-bar"), tint);
  readCell(-1, -1);
}

function showProfile({ heads }, token) {
  if (!heads || token < 0) return $("profile").replaceChildren();
  const { ofToken } = headFigures(heads);
  const values = [...Array(heads.layers).keys()].map((layer) => ofToken(token, layer));
  $("profile").setAttribute("viewBox", `0 0 100 ${heads.layers}`);
  $("profile").replaceChildren(...values.map((value, layer) => shape("rect", { x: 0, y: layer + 0.12, height: 0.76,
    width: (100 * value) / (heads.layerTop || 1), class: layer === cell.layer ? "read" : "" })));
  const top = highest(values);
  $("profile").ariaLabel = `Image share of token ${token} by layer, highest in layer ${values.indexOf(top)}: `
    + percent(top);
}

function readCell(layer, head) { // head -1: the whole layer; layer -1: nothing is read
  const { item, token } = state;
  Object.assign(cell, { layer, head });
  $("cursor").hidden = layer < 0 || head < 0;
  if (layer < 0) return void ($("cell").textContent = "Point at a cell or a bar, or move with the arrow keys.");
  const { share, ofToken } = headFigures(item.heads);
  const { layers, heads } = item.heads;
  Object.assign($("cursor").style, { left: `${(100 * head) / heads}%`, top: `${(100 * layer) / layers}%`,
    width: `${100 / heads}%`, height: `${100 / layers}%` });
  $("cell").textContent = `Layer ${layer}`
    + (head < 0 ? "" : `, head ${head}: ${percent(share(layer, head))} of its attention on the image`)
    + (token < 0 ? "" : `; token ${token} in this layer: ${percent(ofToken(token, layer))}`);
  for (const [k, bar] of [...$("profile").children].entries()) bar.classList.toggle("read", k === layer);
}

function pointedAt(event, node, layers, heads) {
  const { left, top, width, height } = node.getBoundingClientRect();
  const part = (offset, whole, count) => Math.min(Math.max(Math.floor((count * offset) / whole), 0), count - 1);
  return [part(event.clientY - top, height, layers), heads && part(event.clientX - left, width, heads)];
}

on("grid", "pointermove", (event) => {
  const { layers, heads } = state.item.heads;
  readCell(...pointedAt(event, $("grid"), layers, heads));
});

on("profile", "pointermove", (event) => {
  if (state.item.heads) readCell(pointedAt(event, $("profile"), state.item.heads.layers, 0)[0], -1);
});

on("grid", "keydown", (event) => {
  const { layers, heads } = state.item.heads;
  const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  if (!Object.hasOwn(moves, event.key)) return;
  event.preventDefault();
  const [down, right] = moves[event.key];
  const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
  if (cell.head < 0) return readCell(within(cell.layer, layers), 0);
  readCell(within(cell.layer + down, layers), within(cell.head + right, heads));
});
