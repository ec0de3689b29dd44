"""Rationales: worked solutions that a stronger model, the teacher, writes for problems whose answer is known.

    from vkit.rationales.generate import generate       # ask for each problem that has none yet
    from vkit.rationales.output import write_rationales   # samples to train on, and what was set aside

The kinds are those of Tey's study, section 4.1. What a teacher says goes to an append-only store first, so
that nothing that was paid for is asked for again; everything else is made from the store.
"""
