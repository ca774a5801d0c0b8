"""`python -m mkgc`: the program."""

from ._program import main

main()
