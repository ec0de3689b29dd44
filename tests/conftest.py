"""What many tests begin with."""

import sys

import pytest

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
