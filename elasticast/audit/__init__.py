"""Measure how audio encoders behave: consistency, length, sampling rate, cost. No training."""
