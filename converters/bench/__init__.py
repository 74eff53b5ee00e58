"""Every installed runtime on the same tensor, in alternation: how fast, how large, how exact."""
