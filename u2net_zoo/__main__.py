"""`python -m u2net_zoo` is `u2zoo`."""

from .cli import main

main()
