"""How often tests with random inputs try: as often as the environment variable FUZZ_TRIES says."""

import os


def tries(default: int) -> int:
    """Number of tries; `default` without FUZZ_TRIES."""
    return int(os.environ.get("FUZZ_TRIES", default))
