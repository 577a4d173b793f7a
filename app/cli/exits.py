"""Exit codes of the program; `docs/cli.md` documents them."""

OK = 0
FAILURE = 1
USAGE = 2
NOT_RUNNING = 3
INTERRUPTED = 130
