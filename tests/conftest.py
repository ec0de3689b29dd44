"""What many tests begin with."""

import sys

import pytest
import torch

from vkit.cli.main import main


@pytest.fixture
def vkit(monkeypatch, capsys):
    """Call ``vkit`` in this process: exit code, stdout, stderr."""

    def call(*arguments, terminal=False, columns=300):
        monkeypatch.setattr(sys, "argv", ["vkit", *map(str, arguments)])
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        monkeypatch.setenv("COLUMNS", str(columns))
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def one_thread():
    """One order of every sum: several threads divide a product by place, which may change a last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # of other processes
        yield
    torch.set_num_threads(threads)
