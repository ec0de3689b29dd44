"""Rationales: worked solutions that a stronger model, the teacher, writes for problems whose answer is known.

    from vkit.rationales.job import prepare               # what is to be asked; `vkit.teacher` asks
    from vkit.rationales.output import write_rationales   # samples to train on, and what was set aside

The kinds are those of Tey's study, section 4.1.
"""
