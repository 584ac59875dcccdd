"""`python -m elasticast`: the command, also where the package is not installed but lies in the working folder."""

from elasticast.cli import main

if __name__ == "__main__":
    main()
