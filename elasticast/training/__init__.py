"""Training: one loop for every model, view and dataset."""
