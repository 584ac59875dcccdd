"""`python -m elasticast`: the `elasticast` command, which also works if the package is not installed."""

from elasticast.cli import main

if __name__ == "__main__":
    main()
