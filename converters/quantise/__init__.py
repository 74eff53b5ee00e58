"""Weights in fewer bits, without masks that go blank.

sensitivity.py   what each layer's rounding costs, on photographs: one layer at a time, in Torch
plan.py          which layers stay as they are, so that the masks stay within a bound
rounding.py      kernels rounded to what a scheme can hold: int8 per channel, or a palette
photographs.py   what all of it is measured on
equalise.py      feature maps brought to one scale, which ONNX's int8 needs
coreml_weights.py, tflite_weights.py, onnx_plan.py, onnx_qdq.py   how a format stores it
"""
