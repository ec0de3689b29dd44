"""Whatever a file holds, its reader takes it or refuses it with a `VkitError`; see `tests.fuzz`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.limits import Finding, guarded
from tests.fuzz.mutations import KINDS, mutate
from tests.fuzz.targets import TARGETS
from vkit.errors import VkitError

EXAMPLES = 50  # of each target; the runner tries as many as its time allows
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Targets by name: what runs an input under guard, and the seeds."""
    made = {}

    def prepare(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("fuzz")
            run, seeds = TARGETS[name].prepare(folder)
            made[name] = guarded(run, folder, seconds=TARGETS[name].seconds), seeds
        return made[name]

    return prepare


@pytest.mark.filterwarnings("ignore")  # of libraries, about what is damaged
@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_input_is_read_or_refused(name, prepared):
    run, seeds = prepared(name)
    for seed in seeds:
        run(seed)

    @settings(
        max_examples=max(5, round(EXAMPLES * TARGETS[name].share)),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def damaged(random):
        run(mutate(TARGETS[name].kind, seeds, random))

    damaged()


def refuse(data):
    raise VkitError("no")


def raise_type_error(data):
    raise TypeError("no")


def run_forever(data):
    while True:
        pass


def start_a_program(data):
    subprocess.run([sys.executable, "--version"], check=False)


def start_a_program_quietly(data):
    try:
        start_a_program(data)
    except OSError as error:
        raise VkitError("cannot be read") from error


def write_elsewhere(data):
    (ROOT / "canary").write_bytes(data)


def test_what_is_refused_with_a_vkit_error_is_no_finding(tmp_path):
    guarded(refuse, tmp_path, seconds=1)(b"")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (raise_type_error, "TypeError: no"),
        (run_forever, "ran for more than 0.2 s"),
        (start_a_program, "subprocess.Popen"),
        (start_a_program_quietly, "subprocess.Popen"),
        (write_elsewhere, "canary' to write"),
    ],
)
def test_what_a_target_may_not_do_is_a_finding(target, message, tmp_path):
    with pytest.raises(Finding, match=message):
        guarded(target, tmp_path, seconds=0.2)(b"x")
    assert not (ROOT / "canary").exists()


@given(st.sampled_from(sorted(KINDS)), st.binary(max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_any_bytes_can_be_damaged(kind, data, random):
    assert isinstance(mutate(kind, [data], random), bytes)


def test_the_runner_tells_its_figures_and_exits_0_without_findings(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--minutes",
        "0.02",
        "--engine",
        "random",
        "--out",
        tmp_path,
    ]
    done = subprocess.run([*command, "--target", "judge-replies"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"] == 0
    assert report["executions"] == report["targets"]["judge-replies"]["executions"] > 3
