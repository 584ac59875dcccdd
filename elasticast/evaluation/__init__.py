"""Evaluation: sweeps of a trained model over lengths and resolutions."""
