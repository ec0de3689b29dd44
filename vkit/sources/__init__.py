"""Data sets in their official layouts, read as `vkit.records.Sample`; see `vkit.sources.opening`."""
