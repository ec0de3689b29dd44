// The output as a heat-map of the ratio, the chosen token's figures, and the card over a token that is pointed at.

const SHARES = { first_token: "First token", before_image: "Text before the image", image: "Image",
  question: "Question", prompt_rest: "Rest of the prompt", generated: "Generated text" };

// ---- The output ----

function showOutput(item) {
  $("tokens").replaceChildren(...item.tokens.flatMap((piece, index) => {
    const joined = visible(piece).replace(/^ /, "\u00a0"); // a blank stays with its word
    const option = element("span", { role: "option", id: `token-${index}`, ariaSelected: "false",
      textContent: joined.replaceAll("\n", "↵\n") || "∅",
      ariaLabel: `${named(piece)}, ratio ${format(item.ratio[index])}` });
    return piece.startsWith(" ") ? [element("wbr"), option] : option;
  }));
  if (!item.tokens.length) $("tokens").textContent = "The model wrote nothing.";
  $("tokens").scrollTop = 0;
  $("token-legend").hidden = !item.tokens.length;
  $("undefined-key").hidden = !item.ratio.includes(null);
  colourTokens();
}

function colourTokens() {
  const { ratio } = state.item;
  const known = defined(ratio);
  const all = runs[state.run];
  const fixed = $("token-scale").value === "items" && all.low !== null;
  const own = known.length ? [Math.min(...known), Math.max(...known)] : [null, null];
  const [low, high] = fixed ? [all.low, all.high] : own;
  for (const [index, value] of ratio.entries()) {
    const colour = value === null ? null : tint(high > low ? (value - low) / (high - low) : 0);
    $(`token-${index}`).className = colour ? "" : "undefined";
    if (!colour) continue;
    Object.assign($(`token-${index}`).style, { backgroundColor: `rgb(${colour})`, color: inkOn(colour) });
  }
  show("lowest", low);
  show("highest", high);
  const beyond = known.filter((value) => value < low || value > high).length;
  $("clipped").textContent = beyond ? `${beyond} beyond, drawn as the ends` : "";
  fillBar($("token-bar"), tint);
}

function tint(strength) { // the more, the darker; lightened on the white sheet, so that text on it stays legible
  const [colours, cover] = [directed("viridis_r"), 0.4 + 0.6 * Math.min(Math.max(strength, 0), 1)];
  return ramp(colours, strength).map((c) => (colours === "oranges" ? c : blend(255, c, cover)));
}

on("tokens", "click", ({ target }) => {
  if (target.role === "option") chooseToken(Number(target.id.slice(6)));
});

on("tokens", "keydown", (event) => {
  const last = state.item.tokens.length - 1;
  const move = { ArrowRight: () => state.token + 1, ArrowLeft: () => state.token - 1, ArrowDown: () => onNextLine(1),
    ArrowUp: () => onNextLine(-1), Home: () => 0, End: () => last }[event.key];
  if (!move || last < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  chooseToken(Math.min(Math.max(move(), 0), last));
});

function onNextLine(direction) { // the nearest token of the next line
  const here = $(`token-${state.token}`).getClientRects()[0];
  for (let j = state.token + direction, best = null; ; j += direction) {
    const box = $(`token-${j}`)?.getClientRects()[0];
    if (best && (!box || Math.abs(box.top - best.top) > 4)) return best.j;
    if (!box) return state.token;
    const distance = Math.abs(box.left - here.left);
    if (Math.abs(box.top - here.top) > 4 && (!best || distance < best.distance)) best = { j, distance, top: box.top };
  }
}

// ---- The chosen token ----

function showToken(item, index) {
  const option = $(`token-${index}`);
  $("token-panel").hidden = !option;
  if (!option) return $("tokens").removeAttribute("aria-activedescendant");
  option.ariaSelected = "true";
  $("tokens").setAttribute("aria-activedescendant", option.id);
  keepInSight(option);
  $("position").textContent = index;
  $("positions").textContent = `of 0 to ${item.tokens.length - 1}`;
  $("token").textContent = named(item.tokens[index]).replaceAll(" ", "␣");
  for (const key of ["ratio", "V", "P"]) show(key, item[key][index]);
  $("step").textContent = stepText(item, index);
  $("shares").tBodies[0].replaceChildren(...Object.entries(SHARES).map(([key, label]) => {
    const value = item.shares[key][index];
    const bar = element("span", { className: `share-${key}` });
    bar.style.width = `${100 * (value ?? 0)}%`;
    const figure = element("data", { value: value ?? "", textContent: percent(value) });
    return element("tr", { className: key }, element("th", { scope: "row", textContent: label }),
      element("td", {}, bar), element("td", {}, figure));
  }));
  $("places-box").hidden = !item.map;
  $("places").replaceChildren(...placesOf(item, index).map((texts) =>
    element("li", {}, ...texts.map((textContent) => element("span", { textContent })))));
}

function keepInSight(option) { // scrolls the sheet, never the page
  const [sheet, box] = [$("tokens").getBoundingClientRect(), option.getBoundingClientRect()];
  const margin = Math.min(box.height, 40);
  if (box.top < sheet.top + margin) $("tokens").scrollTop += box.top - sheet.top - margin;
  else if (box.bottom > sheet.bottom - margin) $("tokens").scrollTop += Math.min(box.bottom - sheet.bottom + margin,
    box.top - sheet.top - margin);
}

const stepOf = (item, index) => item.steps.findIndex(([start, end]) => start <= index && index < end);

function stepText(item, index) {
  const step = stepOf(item, index);
  return step < 0 ? "none" : `${step + 1} of ${item.steps.length}`;
}

function placesOf(item, index) { // of the patches that get most: where, and how much
  if (!item.map) return [];
  return strongest(item.map.boxes, attentionOf(item.map, index)).map((box) => {
    const [across, down] = placeOf(box);
    return [`${across}% across, ${down}% down`, format(box.attention, 3)];
  });
}

// ---- The card over a token that is pointed at ----

function showCard(index) {
  const { item } = state;
  const pairs = [["Ratio", format(item.ratio[index])], ["V", format(item.V[index])], ["P", format(item.P[index])],
    ["Step", stepText(item, index)], ...placesOf(item, index).map(([where], k) => [`Patch ${k + 1}`, where])];
  $("card").replaceChildren(
    element("p", {}, element("b", { textContent: named(item.tokens[index]).slice(0, 60) }), ` token ${index}`),
    element("dl", {}, ...pairs.flatMap(([name, value]) =>
      [element("dt", { textContent: name }), element("dd", { textContent: value })])));
  $("card").hidden = false;
  placeCard($(`token-${index}`), $(`token-${state.token}`));
}

function placeCard(...options) { // within the window, over neither the token nor the chosen one
  const { width, height } = $("card").getBoundingClientRect();
  const boxes = options.flatMap((option) => [...option.getClientRects()]);
  const [{ left, top, bottom }] = boxes;
  const [right, lower, gap] = [document.documentElement.clientWidth - width, innerHeight - height, 8];
  const under = Math.min(left, $("tokens").getBoundingClientRect().right - width); // clear of the panel beside
  const corners = [[right, 0], [0, 0], [0, lower], [right, lower]];
  const beside = [bottom + gap, top - gap - height].flatMap((y) =>
    [under, left - width - gap, left].map((x) => [x, y]));
  const inner = (x, limit) => Math.max(0, Math.min(x, limit));
  const free = [...beside, [left - width - gap, top], ...corners].map(([x, y]) => [inner(x, right), inner(y, lower)])
    .find(([x, y]) => boxes.every((box) =>
      x >= box.right || x + width <= box.left || y >= box.bottom || y + height <= box.top));
  $("card").hidden = !free;
  if (free) Object.assign($("card").style, { left: `${free[0]}px`, top: `${free[1]}px` });
}

function hideCard() {
  $("card").hidden = true;
}

on("tokens", "pointerover", ({ target, pointerType }) => {
  if (target.role === "option" && pointerType === "mouse") showCard(Number(target.id.slice(6)));
  else hideCard();
});
$("tokens").addEventListener("pointerleave", hideCard);
$("tokens").addEventListener("keydown", hideCard);
addEventListener("scroll", hideCard, { capture: true, passive: true });
