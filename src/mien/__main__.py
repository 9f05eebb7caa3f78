"""`python -m mien`: the command line where the script `mien` is not on the path."""

from mien.cli import main

if __name__ == "__main__":
    main()
