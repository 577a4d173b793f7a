"""GGUF files: a bounded reader in Python, and a writer of headers.

Follows https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""
