"""`python -m seqebm` is the `seqebm` command."""

from seqebm.cli import main

if __name__ == "__main__":
    main()
