"""The ``vkit`` command: finds the subcommand, imports only that one, and tells errors in one line."""

from __future__ import annotations

import errno
import importlib
import os
import sys

import click

from vkit import __version__
from vkit.cli import one_voice
from vkit.errors import VkitError

# Name -> module of vkit.cli and what `vkit --help` says, so that help imports nothing.
COMMANDS = {
    "study": ("study", "Run the whole study from one YAML file, to one page."),
    "demo": ("demo", "Train a small model from nothing in three stages, and look at what it learned."),
    "attn-ratio": ("attn_ratio", "Measure how much a model looks at the picture while it answers."),
    "compare": ("compare", "Compare runs of attn-ratio: which model looks more, at equal length?"),
    "figures": ("figures", "Draw a run's heat-maps and overlays for a paper: PNG, SVG, PDF."),
    "report": ("report", "Write one page of one or several runs, to read in a browser."),
    "train-puma": (
        "train_puma",
        "Teach a model to read the picture as it reads the text, in three stages.",
    ),
    "train-sft": ("train_sft", "Fine-tune a model on answers: problems, or conversations in LLaVA's format."),
    "export": ("export", "Write a trained model, or its adapter, for transformers and peft."),
    "train-smart": ("train_smart", "Train a small reasoner on frozen backbones: SmarterVLM on SMART-101."),
    "rationales": ("rationales", "Have a teacher write worked solutions, checked, to train on."),
    "curate": ("curate", "Choose pictures to learn from, and have more questions made of them."),
    "generate": ("generate", "Let a model answer problems: predictions for score, resumable."),
    "score": ("score", "Score predictions by a benchmark's own rules: MathVista, MathVerse, We-Math, ..."),
    "data": ("data", "Check, and draw, data sets."),
    "doctor": ("doctor", "Say what runs here: versions, kernels, devices."),
}


class LazyGroup(click.Group):
    """Imports a subcommand's module when it is called; its help line is known without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"vkit.cli.{COMMANDS[name][0]}")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vkit")
def cli() -> None:
    """See, and teach, where vision-language models look when they do mathematics.

    \b
    vkit demo --out demo
    vkit data synthesize --pairs 1000 --out data
    vkit attn-ratio --model Qwen/Qwen2.5-VL-3B-Instruct --data problems.jsonl --out runs/qwen
    vkit compare runs/direct runs/cot
    """


def main() -> None:
    """Entry point: exit 0, 1 for an error told in one line, 2 for wrong usage, 130 after Ctrl-C."""
    for library in ("TRANSFORMERS", "HF_HUB"):  # what they log, an error of ours says in its one line
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    if not sys.stderr.isatty():  # bars of the libraries; ours know it by themselves
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        sys.exit(cli.main(prog_name="vkit", standalone_mode=False))
    except click.ClickException as error:
        one_voice.end_as_echo(error)
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("vkit: stopped", err=True)
        sys.exit(130)
    except VkitError as error:
        click.echo("vkit: " + " ".join(str(error).split()), err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that was taken away or may not be written
        place, reason = error.filename or "output", error.strerror or error
        what = "make room, or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose"
        click.echo(f"vkit: {place}: {reason}; {what} another place, and run again", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
