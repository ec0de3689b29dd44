"use strict";
// Colours, and the picture under a token's attention: the same arithmetic as colours.py and overlay.py.
// Comes first of the scripts; those after it choose what is drawn.

const data = JSON.parse(document.getElementById("data").textContent);
const { constants, items } = data;

// ---- Colours: the tables of vkit/report/colours.py ----

function ramp(name, position) {
  const table = constants.ramps[name.replace("_r", "")];
  const at = Math.min(Math.max(name.endsWith("_r") ? 1 - position : position, 0), 1) * (table.length - 1);
  const low = Math.min(Math.floor(at), table.length - 2);
  const channel = (hex, c) => parseInt(hex.slice(1 + 2 * c, 3 + 2 * c), 16);
  const mix = (from, to) => Math.round(from + (at - low) * (to - from));
  return [0, 1, 2].map((c) => mix(channel(table[low], c), channel(table[low + 1], c)));
}

function inkOn(colour) { // black where its contrast is higher than white's (WCAG 2.2)
  const [r, g, b] = colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.1791 ? "#000" : "#fff";
}

function fillBar(bar, colourAt) {
  bar.style.background = `linear-gradient(to right, ${[...Array(17).keys()].map((k) => `rgb(${colourAt(k / 16)})`)})`;
}

// ---- The picture under the token's attention: the arithmetic of vkit/report/overlay.py ----

async function drawPicture() {
  const { item, token } = state;
  if (!item?.picture) return;
  const bitmap = await pictureOf(item);
  if (state.item !== item || state.token !== token) return; // another one was chosen meanwhile
  const { width, height } = item.picture;
  const canvas = $("picture");
  const enlarged = Math.max(1, constants.smallestSide / Math.max(width, height));
  const size = { width: Math.round(width * enlarged), height: Math.round(height * enlarged) };
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  $("frame").style.setProperty("--ratio", width / height);
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  canvas.ariaLabel = `Picture of item ${named(item.id)}`;
  $("patches").replaceChildren();
  if (!item.map || token < 0) return;
  const attention = attentionOf(item.map, token);
  item.map.cells ??= cellsOf(item.map.boxes, canvas.width, canvas.height);
  const field = density(item.map.cells, attention);
  const top = fullColourAt(item.map, attention, field);
  const colours = directed(item.picture.ramp);
  canvas.ariaLabel += `. Token ${token} ${strongestPlace(item.map.boxes, attention)}.`;
  $("picture-top").textContent = format(top);
  fillBar($("picture-bar"), (t) => ramp(colours, t).map((c) => blend(255, c, t))); // over white
  if ($("overlay").checked && top) paint(canvas.getContext("2d"), item.map.cells, field, top, colours);
  if ($("marks-on").checked) markPatches(strongest(item.map.boxes, attention));
}

let decoded = {}; // the picture of one item: browsers keep what they decode themselves for long, which adds up

function pictureOf(item) { // a promise of its bitmap
  if (decoded.item !== item) {
    decoded.bitmap?.then((bitmap) => bitmap.close(), () => {});
    const [, type, bytes] = /^data:([^;]+);base64,(.*)$/.exec(item.picture.source);
    decoded = { item, bitmap: createImageBitmap(new Blob([bytesOf(bytes)], { type })) };
  }
  return decoded.bitmap;
}

function directed(name) { // the chosen colours, in the direction that stands out from this picture
  const [colours, onLight] = [$("ramp").value, name.endsWith("_r")];
  return onLight === (colours === "oranges") ? colours : `${colours}_r`;
}

function markPatches(patches) { // a numbered frame around each of the strongest patches
  const part = (edge) => `${100 * Math.min(Math.max(edge, 0), 1)}%`;
  $("patches").replaceChildren(...patches.map(([left, top, right, bottom], k) => {
    const frame = element("span", {}, element("b", { textContent: k + 1 }));
    const [from, to] = [part(left), part(top)];
    const [width, height] = [`calc(${part(right)} - ${from})`, `calc(${part(bottom)} - ${to})`];
    Object.assign(frame.style, { left: from, top: to, width, height });
    return frame;
  }));
}

function paint(context, { xs, ys }, field, top, name) {
  const columns = xs.length - 1;
  field.forEach((attention, at) => {
    const strength = Math.min(attention / top, 1);
    if (!strength) return;
    const [x, y] = [at % columns, Math.floor(at / columns)];
    context.globalAlpha = constants.fullAlpha * strength;
    context.fillStyle = `rgb(${ramp(name, strength)})`;
    context.fillRect(xs[x], ys[y], xs[x + 1] - xs[x], ys[y + 1] - ys[y]);
  });
  context.globalAlpha = 1;
}

const blend = (under, over, strength) => Math.round(under + constants.fullAlpha * strength * (over - under));

function strongest(boxes, attention, count = 3) { // the boxes that get most, the first most of all
  const order = [...attention.keys()].sort((a, b) => attention[b] - attention[a]);
  return order.slice(0, count).map((k) => Object.assign([...boxes[k]], { attention: attention[k] }));
}

function placeOf([left, top, right, bottom]) { // of a box's middle, in percent of the picture
  return [Math.round(50 * (left + right)), Math.round(50 * (top + bottom))];
}

function strongestPlace(boxes, attention) {
  const [across, down] = placeOf(strongest(boxes, attention, 1)[0]);
  return `attends most ${across}% from the left, ${down}% from the top`;
}

function attentionOf(map, token) { // per image token, times the median box's area over its own
  if (!map.bytes) {
    map.bytes = bytesOf(map.weights);
    const areas = map.boxes.map(([left, top, right, bottom]) => (right - left) * (bottom - top));
    const sorted = [...areas].sort((a, b) => a - b);
    const middle = (sorted[(areas.length - 1) >> 1] + sorted[areas.length >> 1]) / 2;
    map.relief = areas.map((area) => middle / area);
  }
  const start = token * map.boxes.length;
  return map.relief.map((relief, k) => (map.bytes[start + k] / 255) ** 2 * map.scale[token] * relief);
}

// Boxes may overlap. Their edges cut the picture into cells, in each of which the density is one number: the sum
// over the boxes that cover it.
function cellsOf(boxes, width, height) {
  const pixel = (edge, side) => Math.round(Math.min(Math.max(edge, 0), 1) * side);
  const edges = (first, second, side) => [...new Set(boxes.flatMap((box) => [box[first], box[second]])
    .map((edge) => pixel(edge, side)))].sort((a, b) => a - b);
  const [xs, ys] = [edges(0, 2, width), edges(1, 3, height)];
  const [columnAt, rowAt] = [xs, ys].map((places) => new Map(places.map((place, k) => [place, k])));
  const covers = Array.from({ length: (xs.length - 1) * (ys.length - 1) }, () => []);
  boxes.forEach(([left, top, right, bottom], k) => {
    for (let row = rowAt.get(pixel(top, height)); row < rowAt.get(pixel(bottom, height)); row++) {
      for (let column = columnAt.get(pixel(left, width)); column < columnAt.get(pixel(right, width)); column++) {
        covers[row * (xs.length - 1) + column].push(k);
      }
    }
  });
  return { xs, ys, covers };
}

function density({ covers }, attention) { // of each cell
  return covers.map((boxes) => boxes.reduce((sum, k) => sum + attention[k], 0));
}

function fullColourAt(map, attention, field) {
  const choice = $("scale").value;
  if (choice === "study") return constants.studyScale;
  if (choice === "percentile") { // beyond it lie the few patches that draw every token's attention
    return [...attention].sort((a, b) => a - b)[Math.floor(0.98 * (attention.length - 1))];
  }
  if (choice === "answer") {
    map.highest ??= highest(map.scale.map((_, each) => highest(density(map.cells, attentionOf(map, each)))));
    return map.highest;
  }
  return highest(field);
}
