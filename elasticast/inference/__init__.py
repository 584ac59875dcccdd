"""Inference: a trained model on audio of any rate, number of channels and length."""
