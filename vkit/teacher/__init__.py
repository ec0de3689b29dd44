"""A stronger model that is asked for many things: at an OpenAI-compatible endpoint, or on this machine.

    from vkit.teacher.task import Settings, make_task      # what is asked, under a key made of its content
    from vkit.teacher.client import ApiTeacher              # asks an endpoint
    from vkit.teacher.asking import ask_all                 # many at once, each reply stored when it comes
    from vkit.teacher.store import ReplyStore

What a teacher says goes to an append-only store first, so that nothing that was paid for is asked for again;
everything else is made from the store. Rationales, curation and the judge of `vkit score` ask in this way.
"""
