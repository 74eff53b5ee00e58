"""`u2zoo serve`: the applications over HTTP, within limits, and a page to try them.

>>> from u2net_zoo.apps import APPLICATIONS
>>> from u2net_zoo.serve.query import chosen
>>> chosen(APPLICATIONS["highlight"], [("dim", "0.3")], {}).dim
0.3
"""
