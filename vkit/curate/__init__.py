"""Math-LLaVA's recipe (Shi et al. 2024, section 3): which pictures to learn from, and more questions of them.

    pool = read_pool(Path("pool.jsonl"))                      # vkit.curate.pool
    found = gather(job, store)                                # vkit.curate.labelling: a teacher's labels
    labels, report = classify(digests, features, known)       # vkit.curate.classifier: of all the rest
    chosen = select(pool, digests, labels, (2, 3, 4, 1))      # vkit.curate.selection

What a picture is labelled with is ``clarity`` (0 or 1) and comprehension ``complexity`` (0 to 3).
"""
