"""Scores that agree with the official ones; for now, the choice that an answer names."""
