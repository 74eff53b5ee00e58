"""Artifacts to the Hugging Face Hub: proved once more, with a card that is made from the proof, in one commit.

    licences            may these weights be passed on?
    provenance          which weights were they made of?
    proving             each file against them; what is not proved is refused
    browser_config      what transformers.js reads beside ONNX files
    repository_layout   which file goes where
    usage, model_card   README.md
    uploading           the commit

>>> from converters.publish.licences import permission
>>> permission("Apache-2.0", None).identifier
'apache-2.0'
"""
