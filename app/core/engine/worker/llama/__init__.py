"""Thin, typed wrappers over llama.cpp's C API: a model, a context, a batch, a sampler chain.

Nothing here knows of requests, slots or frames. Every object owns one C object and frees it in `close`.
"""
