"""Jobs: starting training on several GPUs, and the status of each run of a suite."""
