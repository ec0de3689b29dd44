"""Throws damaged and hostile files at everything that reads files, and fails at all but a `VkitError`.

    python -m tests.fuzz --minutes 2                      # every target in turn, figures as JSON on stdout
    python -m tests.fuzz --minutes 10 --target images     # one of them
    python -m tests.fuzz --target images --replay FILE    # one input again, with its traceback

A target is a function of bytes (`tests.fuzz.targets`). It may return, or raise `VkitError`; a crash, a hang,
any other exception, another program started, or a file written outside its folder is a finding. With
`atheris <https://github.com/google/atheris>`_ installed inputs are bred by the code that they reach, else
they are mutated at random; either way `tests.fuzz.mutations` knows the formats. `tests/test_fuzz.py` runs a
few inputs of each target in the ordinary suite.
"""
