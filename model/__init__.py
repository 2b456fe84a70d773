"""The GQA model, its trainer and its checkpoints."""
