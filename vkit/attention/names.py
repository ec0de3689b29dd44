"""The names that a measurement, its summary and the pages share; importing them needs no torch."""

# Where a row's weight goes; every column is in exactly one of these.
SHARES = ("first_token", "before_image", "image", "question", "prompt_rest", "generated")

# From an answer's tokens to one number: functions of NumPy.
REDUCTIONS = ("mean", "sum", "max")
