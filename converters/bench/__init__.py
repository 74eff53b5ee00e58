"""Every installed runtime on the same tensor, in alternation: how fast, how large, how exact.

>>> from u2net_zoo.flops import flops
>>> round(flops(checkpoint.arch, (320, 320)) / 1e9, 1)
4.4
"""
