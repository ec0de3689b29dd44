"use strict";
// Colours, and the picture under a token's attention: the same arithmetic as colours.py and overlay.py.
// Comes before page.js in the page, which chooses what is drawn.

const { constants, items } = JSON.parse(document.getElementById("data").textContent);

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
  if (!item.picture) return;
  if (!item.image) item.image = Object.assign(new Image(), { src: item.picture.source });
  await item.image.decode();
  if (state.item !== item || state.token !== token) return; // another one was chosen meanwhile
  const { width, height } = item.picture;
  const canvas = $("picture");
  const enlarged = Math.max(1, constants.smallestSide / Math.max(width, height));
  Object.assign(canvas, { width: Math.round(width * enlarged), height: Math.round(height * enlarged) });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(item.image, 0, 0, canvas.width, canvas.height);
  canvas.ariaLabel = `Picture of item ${named(item.id)}`;
  if (!item.map || token < 0) return;
  const attention = attentionOf(item.map, token);
  const field = density(item.map.boxes, attention, canvas.width, canvas.height);
  const top = fullColourAt(item.map, attention, field);
  canvas.ariaLabel += `. Token ${token} ${strongestPlace(item.map.boxes, attention)}.`;
  $("picture-top").textContent = format(top);
  fillBar($("picture-bar"), (t) => ramp(item.picture.ramp, t).map((c) => blend(255, c, t))); // over white
  if ($("overlay").checked && top) paint(canvas.getContext("2d"), field, top, item.picture.ramp);
}

function paint(context, field, top, name) {
  const table = [...Array(256).keys()].map((k) => ramp(name, k / 255));
  const pixels = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
  for (let at = 0; at < field.length; at++) { // a plain loop: it passes a million pixels at every key press
    const strength = Math.min(field[at] / top, 1);
    const over = table[Math.round(255 * strength)];
    for (let c = 0; c < 3; c++) pixels.data[4 * at + c] = blend(pixels.data[4 * at + c], over[c], strength);
  }
  context.putImageData(pixels, 0, 0);
}

const blend = (under, over, strength) => Math.round(under + constants.fullAlpha * strength * (over - under));

function strongestPlace(boxes, attention) {
  const [left, top, right, bottom] = boxes[attention.indexOf(Math.max(...attention))];
  const middle = (low, high) => `${Math.round(50 * (low + high))}%`;
  return `attends most ${middle(left, right)} from the left, ${middle(top, bottom)} from the top`;
}

function attentionOf(map, token) { // per image token, times the median box's area over its own
  if (!map.bytes) {
    map.bytes = Uint8Array.from(atob(map.weights), (c) => c.charCodeAt(0));
    const areas = map.boxes.map(([left, top, right, bottom]) => (right - left) * (bottom - top));
    const sorted = [...areas].sort((a, b) => a - b);
    const middle = (sorted[(areas.length - 1) >> 1] + sorted[areas.length >> 1]) / 2;
    map.relief = areas.map((area) => middle / area);
  }
  const start = token * map.boxes.length;
  return map.relief.map((relief, k) => (map.bytes[start + k] / 255) ** 2 * map.scale[token] * relief);
}

function density(boxes, attention, width, height) {
  const field = new Float32Array(width * height);
  const pixel = (edge, side) => Math.round(Math.min(Math.max(edge, 0), 1) * side);
  boxes.forEach(([left, top, right, bottom], k) => {
    const [from, to, end] = [pixel(left, width), pixel(right, width), pixel(bottom, height)];
    for (let y = pixel(top, height); y < end; y++) {
      for (let x = from; x < to; x++) field[y * width + x] += attention[k];
    }
  });
  return field;
}

function fullColourAt(map, attention, field) {
  const highest = (values) => values.reduce((a, b) => Math.max(a, b), 0);
  const choice = $("scale").value;
  if (choice === "study") return constants.studyScale;
  if (choice === "percentile") { // beyond it lie the few patches that draw every token's attention
    return [...attention].sort((a, b) => a - b)[Math.floor(0.98 * (attention.length - 1))];
  }
  if (choice === "answer") return highest(map.scale.map((_, token) => highest(attentionOf(map, token))));
  return highest(field);
}
