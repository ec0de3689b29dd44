"""Vision-language models behind one small protocol; see `vkit.models.protocol`."""
