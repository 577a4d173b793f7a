"""The libp2p host: the only code of the node that knows Trio and libp2p.

It runs in a thread of its own (thread.py) and speaks to the rest in frozen structs, bytes and text. What is
bent in libp2p is bent here and nowhere else: `pinned.py` names the version for which that was done.
"""
