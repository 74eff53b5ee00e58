"""Weights of the Hugging Face Hub: `hf:OWNER/NAME`, in the cache of all other weights.

    hub_name      what people type
    commit        what a repository holds at one commit, and what is kept of that
    file_choice   which of its files is the network
    hub_client    the library, so that it reports nothing; its errors, in one line and without a token
    hub_files     from the hub into the cache

>>> from u2net_zoo.hub.hub_name import hub_name
>>> hub_name("hf:someone/u2netp/onnx/model.onnx@v1.0")
HubName(repo='someone/u2netp', file='onnx/model.onnx', revision='v1.0')
"""
