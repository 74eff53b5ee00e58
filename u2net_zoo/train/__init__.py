"""Training, in Torch and in Keras, and the metrics of the field.

>>> import numpy as np
>>> from u2net_zoo.arch import U2NETP
>>> from u2net_zoo.train.start import fresh
>>> fresh(U2NETP, seed=0).arch.parameters()
1131181
"""
