"""Every installed runtime on the same tensor, in alternation: how fast, how large, how exact.

>>> from converters.work import flops
>>> round(flops(checkpoint.arch, (320, 320)) / 1e9, 1)
4.4
"""
