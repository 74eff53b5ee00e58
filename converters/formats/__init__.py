"""One file for each format and one for its reader; a format is imported when it is used.

>>> from converters.loading import format_of, read_source
>>> format_of(artifact).name
'onnx'
>>> read_source(artifact).arch.name
'u2net_nano'
"""
