"""The built-in guide: a tiny model that this project trains from text it wrote itself.

Text (``text/``) -> dialogues (``corpus``) -> tokens (``dataset``) -> weights (``train``)
-> GGUF (``export``).
"""
