"""The house: imports go down its floors only, and the kernels stand alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the ground up; a module may import what stands on its own floor or below.
FLOORS = [
    ("vkit.errors", "vkit.jsonl", "vkit.images", "vkit.records"),
    ("vkit.kernels",),
    ("vkit.models", "vkit.prompts"),
    ("vkit.teacher",),
    ("vkit.attention", "vkit.evaluate", "vkit.synthesis", "vkit.rationales", "vkit.sources"),
    ("vkit.report", "vkit.train", "vkit.curate"),
    ("vkit.study",),
    ("vkit.cli", "vkit.__main__"),
]


def floor_of(module: str) -> int:
    for number, names in enumerate(FLOORS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return number
    raise AssertionError(f"{module} stands on no floor: add it to FLOORS")


def modules() -> dict[str, Path]:
    found = {}
    for folder, package in (("vkit", "vkit"), ("kernels", "vkit.kernels"), ("cli", "vkit.cli")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            if name != "vkit":
                found[name] = path
    return found


def imports(name: str, path: Path) -> set[str]:
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            source = f"{base}.{node.module or ''}".rstrip(".") if node.level else node.module
            found |= {f"{source}.{alias.name}" for alias in node.names} | {source}
    return {module for module in found if module.startswith("vkit.")}


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_down_only(name):
    for imported in imports(name, modules()[name]):
        if imported == "vkit.__version__":
            continue
        assert floor_of(imported) <= floor_of(name), f"{name} reaches up to {imported}"


def test_kernels_import_nothing_of_vkit_above_them():
    for name, path in modules().items():
        if name.startswith("vkit.kernels"):
            assert all(imported.startswith("vkit.kernels") for imported in imports(name, path)), name


def test_kernels_package_is_empty():
    """transformers imports a top-level `kernels` found on the path: nothing may happen there."""
    body = ast.parse((ROOT / "kernels" / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_kernels_work_without_transformers_peft_and_pillow():
    result = run(
        "import sys\n"
        "for name in ('transformers', 'peft', 'PIL'): sys.modules[name] = None\n"
        "import torch\n"
        "from vkit.kernels.attention import segment_attention\n"
        "q = torch.randn(1, 2, 4, 8)\n"
        "print(segment_attention(q, q, q, torch.zeros(1, 4, dtype=torch.int32), 1)[2].sum().item())\n"
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == pytest.approx(8, abs=1e-5)


def test_transformers_imports_from_the_root():
    """A top-level `kernels` folder must not pass for the library of that name."""
    result = run("import transformers; from transformers import PreTrainedModel; print('fine')")
    assert result.stdout.strip() == "fine", result.stderr


def test_help_imports_nothing_heavy():
    result = run(
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from vkit.cli.main import cli\n"
        "for arguments in (['--help'], ['attn-ratio', '--help'], ['data', 'check', '--help'],\n"
        "    ['data', 'synthesize', '--help'], ['data', 'render', '--help'], ['data', 'pairs', '--help'],\n"
        "    ['train-puma', '--help'], ['train-sft', '--help'], ['demo', '--help'],\n"
        "    ['compare', '--help'], ['report', '--help'], ['figures', '--help'], ['score', '--help'],\n"
        "    ['train-smart', '--help'], ['export', '--help'], ['data', 'smart-mini', '--help'],\n"
        "    ['rationales', '--help'], ['generate', '--help'], ['study', '--help'],\n"
        "    ['curate', '--help'], ['curate', 'select', '--help'], ['curate', 'questions', '--help']):\n"
        "    assert CliRunner().invoke(cli, arguments).exit_code == 0\n"
        "heavy = ('torch', 'transformers', 'numpy', 'PIL', 'sympy', 'yaml', 'scipy')\n"
        "heavy += ('fpdf', 'openai', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_ctrl_c_is_one_line_and_exit_130():
    result = run(
        "import sys\n"
        "from unittest import mock\n"
        "from vkit.cli import main\n"
        "sys.argv = ['vkit', 'doctor']\n"
        "with mock.patch('vkit.cli.doctor.metadata.version', side_effect=KeyboardInterrupt):\n"
        "    main.main()\n"
    )
    assert (result.returncode, result.stderr.strip().splitlines()[-1]) == (130, "vkit: stopped")
    assert "Traceback" not in result.stderr


def test_wrong_usage_and_help_keep_their_exit_codes():
    for arguments, code in ((["--help"], 0), (["--version"], 0), (["compare"], 2), (["nothing"], 2)):
        result = run(f"import sys; from vkit.cli.main import main; sys.argv = ['vkit', *{arguments}]; main()")
        assert result.returncode == code, result.stderr
