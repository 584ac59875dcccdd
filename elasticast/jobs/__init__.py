"""Start training on several GPUs, and show the status of the runs of a suite."""
