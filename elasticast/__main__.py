"""`python -m elasticast`: the command, also if the package is not installed but is in the working folder."""

from elasticast.cli import main

if __name__ == "__main__":
    main()
