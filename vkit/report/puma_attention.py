"""The demo page's attention panel: the same solutions under two models, token by token.

    section = attention_section(report["attention"])
    scripts, policy = attention_scripts(report["attention"])

``puma_attention.html`` is the panel, ``puma_page.js`` draws it with the arithmetic of ``overlay.js``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from vkit.errors import VkitError
from vkit.report.colours import RAMPS, anchors, to_hex
from vkit.report.markup import as_data, asset, bar, content_hash, escaped, percent, picture, visible
from vkit.report.overlay import FULL_ALPHA

MAP_SIDE = 384  # pixels of a map's longer side
SIDES = ("before", "after")
SHARE_NAMES = {  # of `vkit.attention.names.SHARES`
    "first_token": "First token",
    "before_image": "Text before the image",
    "image": "Image",
    "question": "Question",
    "prompt_rest": "Rest of the prompt",
    "generated": "Solution so far",
}


def attention_section(attention: Mapping[str, Any]) -> str:
    """The section, empty where ``attention`` is; its panel needs what `attention_scripts` gives."""
    if not attention:
        return ""
    sides = [attention[side] for side in SIDES]
    before, after = ("undefined" if side["ratio"] is None else f"{side['ratio']:.3g}" for side in sides)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>{"".join(_share(side["shares"][key]) for side in sides)}</tr>'
        for key, name in SHARE_NAMES.items()
    )
    links = " and ".join(
        f'<a href="./{escaped(quote(attention[side]["page"]))}">{side} stage 2</a>' for side in SIDES
    )
    panel = asset("puma_attention.html") if attention.get("items") else ""
    return f"""<section aria-labelledby="attention-title" class="attention">
  <h2 id="attention-title">Where it looks</h2>
  <p class="note">Both models read the same given solutions, so that each token can be compared. Ratio:
    attention to an image token over attention to a token of the question. Mean: {before} before stage 2,
    {after} after.</p>
  {panel}
  <details>
    <summary>Where the attention goes, on average</summary>
    <table class="shares">
      <thead><tr><th scope="col">Part</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
      <tbody>{rows}</tbody>
    </table>
  </details>
  <p>Every figure of every token: {links}.</p>
</section>"""


def _share(share: float | None) -> str:
    """A cell of the table of shares."""
    if share is None:
        return "<td>undefined</td>"
    return f"<td><span>{bar(100 * share)}{percent(100 * share)}</span></td>"


def attention_scripts(attention: Mapping[str, Any]) -> tuple[str, str]:
    """The panel's data and script, and what the policy says of scripts: none where there is no panel.

    Raises:
        VkitError: a problem's figures do not fit its tokens and its grid; or its picture cannot be read.
    """
    if not attention.get("items"):
        return "", "'none'"
    constants = {
        "ramps": {name: [to_hex(colour) for colour in anchors(name)] for name in RAMPS},
        "fullAlpha": FULL_ALPHA,
        "smallestSide": MAP_SIDE,
    }
    data = as_data({"constants": constants, "items": [_item(item) for item in attention["items"]]})
    script = asset("overlay.js") + asset("puma_page.js")
    elements = f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>'
    return elements, content_hash(script)


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    rows, columns = item["grid"]
    count, cells = len(item["tokens"]), rows * columns
    for side in (item[name] for name in SIDES):
        if not count == len(side["ratio"]) == len(side["maps"]) > 0 or {*map(len, side["maps"])} != {cells}:
            raise VkitError(
                f"problem {item['id']!r} of the report needs a ratio and {rows} x {columns} figures for each "
                f"of its {count} tokens, before and after; measure it anew"
            )
    return {
        "id": visible(item["id"]),
        "picture": picture(item),
        "tokens": [visible(t).replace("\n", "↵").replace(" ", "␣") or "∅" for t in item["tokens"]],
        "grid": [rows, columns],
        "boxes": [
            [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows]
            for row in range(rows)
            for column in range(columns)
        ],
        **{name: {key: item[name][key] for key in ("ratio", "maps")} for name in SIDES},
    }
