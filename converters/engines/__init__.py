"""What runs weights when nothing is said: the fastest of the installed runtimes, tried once and remembered.

>>> from converters.engines.candidates import candidates
>>> [each.name for each in candidates("cpu")][-1]
'torch'
"""
