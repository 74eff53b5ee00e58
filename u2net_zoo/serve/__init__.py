"""`u2zoo serve`: the applications over HTTP, within limits, and a page to try them."""
