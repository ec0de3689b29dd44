"""The study as one command: rationales, fine-tunes, variants, scores, attention, comparison, one page.

    from vkit.study.plan import read_plan
    from vkit.study.run import run_study

    table = run_study(read_plan(Path("study.yaml")), Path("runs/study"))

Tey, "Understanding How Vision-Language Models Reason when Solving Visual Math Problems", section 4.
"""
