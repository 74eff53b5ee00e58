"""Weights in fewer bits, without masks that go blank.

    >>> import numpy as np
    >>> from converters.quantise.rounding import rounded
    >>> len(np.unique(rounded(checkpoint.state["stage1.rebnconv1.conv_s1.weight"], "palette6"))) <= 64
    True

`sensitivity` measures on photographs what each layer's rounding costs, one layer at a time, in Torch;
`mixed_precision` finds which layers stay as they are, so that the masks stay within a bound; `rounding` rounds kernels
to what a scheme can hold; `equalise` brings feature maps to one scale, which ONNX's int8 needs. The other files store
it in a format.
"""
