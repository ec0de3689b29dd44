"""Where a model looks: capture of its attention, the image-to-text ratio, and comparisons between models.

from vkit.attention.capture import capture

with capture(model, segment_ids, rows=rows) as record:
    model(**inputs)
record.mass  # (L, B, H, R, S): weight that each row puts on each segment, per layer and head
"""
