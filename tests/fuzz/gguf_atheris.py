"""Coverage-guided fuzzing of GGUF reading, beyond what the hypothesis tests try.

    pip install atheris==3.0.0 && python tests/fuzz/gguf_atheris.py -max_total_time=300 [CORPUS_FOLDER]

Anything but a header or a BadModelFile ends it with the bytes that did it.
"""

import contextlib
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["app.core.models"]):
    from app.core.kernel.errors import BadModelFile
    from app.core.models import manifest
    from app.core.models.facts import read_facts
    from app.core.models.gguf.reader import HeaderIncomplete, parse_header
    from app.core.models.gguf.source import GgufSource

from tests.support.gguf_corpus import ordinary


def once(data: bytes) -> None:
    for raw in (data, ordinary()[: len(data) // 2] + data):
        with contextlib.suppress(BadModelFile):
            header = parse_header(raw, len(raw))
            read_facts(GgufSource((Path("fuzz.gguf"),), (header,)))
            for key in header.metadata.fields:
                header.metadata.raw(key)
                if header.metadata.count(key) is not None:
                    header.metadata.array(key)
        with contextlib.suppress(BadModelFile, HeaderIncomplete):
            parse_header(raw[: len(raw) // 2], len(raw))
    with contextlib.suppress(BadModelFile):
        manifest.decode(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()
