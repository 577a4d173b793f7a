"""Entry point: chooses worker, command or window before anything heavy is imported."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["worker"]:
        from app.core.engine.worker.main import main as worker_main  # noqa: PLC0415

        return worker_main(arguments[1:])
    from app.launch.host import run_command  # noqa: PLC0415

    return run_command(arguments)


if __name__ == "__main__":
    sys.exit(main())
