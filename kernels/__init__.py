"""Fused kernels that work alone: torch and Triton are all they import.

Import a kernel from its own file, ``from vkit.kernels.attention import segment_attention``. This file
stays empty: started from the repository's root, transformers would import a top-level ``kernels`` as if
it were the library of that name, so anything defined here would run twice.
"""
