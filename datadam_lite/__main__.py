"""`python -m datadam_lite` is the same as `datadam`."""

from datadam_lite.cli import main

main()
