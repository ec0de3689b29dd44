"""The training stages: recipes, data, the loop that survives a kill, supervised fine-tuning and alignment."""
