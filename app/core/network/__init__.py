"""Meeting other nodes and talking to them safely.

`Network` (network.py) is the only part the rest of the node uses. Everything beside `host/` is free of
Trio and libp2p; what decides (frames, sessions, sealing, address book, policies) does no I/O at all, takes
its clock and randomness as arguments, and is tested as bytes in, events out.
"""
