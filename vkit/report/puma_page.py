"""Writes the page of ``vkit demo``: what Math-PUMA's stages did to a small model, told in half a minute.

    write_puma_page(Path("demo/index.html"), report)      # what vkit.train.demo.run_demo returns

Everything but the attention panel is plain HTML and SVG, which a browser without scripts shows too. As on the
page of a run (`vkit.report.page`), nothing is asked of the network, the Content-Security-Policy would not let
it, and text of a model or a record arrives as escaped text only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vkit.attention.summary import LIMITS
from vkit.errors import VkitError
from vkit.jsonl import write_bytes
from vkit.report.charts import Chart, Line, decades, step_ticks
from vkit.report.markup import asset, content_hash, escaped, picture
from vkit.report.puma_accuracy import card, chance, draw_accuracies, headline, list_runs, table
from vkit.report.puma_attention import attention_scripts, attention_section

MAX_EXAMPLES = 12
LONGEST_OUTPUT = 400  # characters of an example's output; what comes after is counted
# What a log names, as it is drawn, and the class of its line. The weak side is the picture's.
LOSSES = {
    "kl_weak_strong": ("KL(picture‖text)", "k1"),
    "kl_strong_weak": ("KL(text‖picture)", "k2"),
    "cross_entropy": ("cross-entropy", "k0"),
    "strong_cross_entropy": ("cross-entropy of text", "k3"),
}


def write_puma_page(path: Path, report: Mapping[str, Any]) -> Path:
    """Write one self-contained HTML page of a demo.

    Args:
        path: of the page; links to the attention pages are relative to its folder.
        report: see `vkit.train.demo.run_demo`. ``problems``, ``orders``, ``pairs`` and ``seconds``
            must be there; what else is absent or empty is left out.

    Raises:
        VkitError: a picture that the report names cannot be read, a problem's attention does not fit its
            tokens, or the folder of ``path`` does not exist.
    """
    if not path.parent.is_dir():
        raise VkitError(f"folder {path.parent} for the page does not exist; create it first")
    runs, attention = list_runs(report), report.get("attention") or {}
    style = asset("puma_page.css")
    scripts, script_policy = attention_scripts(attention)
    parts = {
        "policy": (
            f"default-src 'none'; img-src data:; script-src {script_policy};"
            f" style-src {content_hash(style)}; "
            "base-uri 'none'; form-action 'none'"
        ),
        "style": style,
        "headline": headline(runs),
        "problems": escaped(report["problems"]),
        "warnings": "".join(
            f'<p class="banner" role="note">{escaped(line)}</p>' for line in report.get("warnings") or ()
        ),
        "stages": "\n".join(card(run) for run in runs),
        "accuracy": draw_accuracies(runs),
        "table": table(runs),
        "chance": chance(runs),
        "divergence": _divergence((report.get("logs") or {}).get("stage2") or ()),
        "examples": _examples(report.get("examples") or ()),
        "attention": attention_section(attention),
        "limits": f"<li>{escaped(LIMITS)}</li>" if attention else "",
        "facts": _facts(report),
        "scripts": scripts,
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("puma_page.html"))
    write_bytes(path, page.encode())
    return path


def _divergence(log: Sequence[Mapping[str, float]]) -> str:
    """Curves of the parts of stage 2's loss; empty where the log holds none of them."""
    parts = {key: named for key, named in LOSSES.items() if log and key in log[0]}
    if not parts:
        return ""
    curves = [
        Line(name, kind, [(line["step"], line[key]) for line in log]) for key, (name, kind) in parts.items()
    ]
    values = [value for curve in curves for _, value in curve.points]
    levels = decades(values)
    chart = Chart(curves, step_ticks(int(log[-1]["step"])), levels, log=True)
    below = " What lies below the axis is drawn on it." if min(values) < levels[0][0] else ""
    facts = "; ".join(
        f"{name} from {log[0][key]:.3g} to {log[-1][key]:.3g}" for key, (name, _) in parts.items()
    )
    return f"""<section aria-labelledby="loss-title">
  <h2 id="loss-title">What stage 2 minimised</h2>
  <p class="note">Nats per token of the solution, by step, on a logarithmic scale.{below}</p>
  <figure>{chart.draw_both(f"Losses of stage 2: {facts}.")}</figure>
  <p>From the first to the last of the points: {escaped(facts)}. A divergence that falls while the
    cross-entropy stays high would mean that both twins became trivial together.</p>
</section>"""


def _examples(examples: Sequence[Mapping[str, Any]]) -> str:
    if not examples:
        return ""
    cards = "\n".join(_example(example) for example in examples[:MAX_EXAMPLES])
    return f"""<section aria-labelledby="examples-title">
  <h2 id="examples-title">What it said</h2>
  <ol class="cards examples">
{cards}
  </ol>
</section>"""


def _example(example: Mapping[str, Any]) -> str:
    said = []
    for name, output in example["outputs"].items():
        right = example["correct"][name] is True
        shown, more = output[:LONGEST_OUTPUT], len(output) - LONGEST_OUTPUT
        tail = f" <small>… and {more} more characters</small>" if more > 0 else ""
        said.append(
            f'<div class="{"right" if right else "wrong"}"><dt>{escaped(name)}</dt>'
            f'<dd><span class="mark">{"✓ right" if right else "✗ wrong"}</span> '
            f'<bdi class="said">{escaped(shown) or "(nothing)"}</bdi>{tail}</dd></div>'
        )
    title = escaped(example["id"])
    return f"""<li>
  <div class="asked">
    <img src="{picture(example)["source"]}" alt="Picture of problem {title}" width="128" height="128">
    <div><h3>{title}</h3>
    <p><bdi>{escaped(example["question"]) or "(all in the picture)"}</bdi></p>
    <p>Right answer: <b><bdi>{escaped(example["answer"])}</bdi></b></p></div>
  </div>
  <dl>{"".join(said)}</dl>
</li>"""


def _facts(report: Mapping[str, Any]) -> str:
    seconds = report["seconds"]
    facts = {
        "Pairs to learn from": f"{report['pairs']:,}",
        "New problems": f"{report['problems']:,}",
        **{part: f"{value:.0f} s" for part, value in seconds.items()},
        "All": f"{sum(seconds.values()) / 60:.1f} min",
        **({"Trained model": report["model"]} if report.get("model") else {}),
    }
    return "\n".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts.items()
    )
