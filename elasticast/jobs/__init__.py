"""Jobs: how training starts on several GPUs, and where each run of a suite stands."""
