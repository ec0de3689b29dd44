"""Data sets in their official layouts, read as the records of `vkit.records`; see `vkit.sources.opening`."""
