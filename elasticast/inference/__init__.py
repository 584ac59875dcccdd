"""Inference with a trained model on audio of any sample rate, number of channels and length."""
