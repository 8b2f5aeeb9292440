"""Batches, the one loop, optimisers, checkpoints."""
