"""``python -m vkit``, and so ``torchrun -m vkit`` and ``accelerate launch -m vkit``."""

from vkit.cli.main import main

if __name__ == "__main__":
    main()
