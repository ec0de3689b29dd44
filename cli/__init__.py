"""The commands of ``vkit``, one file each; heavy imports stay inside the commands."""
