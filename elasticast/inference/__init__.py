"""Inference with trained models on audio of any sample rate, number of channels and length."""
