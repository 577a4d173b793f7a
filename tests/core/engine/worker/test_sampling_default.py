"""A request that names no temperature gets what the model's file recommends."""

import pytest

from app.core.engine.worker.sampling import as_recommended
from app.core.kernel.generation import Sampling


class Recommends:
    """Stands for a model's metadata, which is all that is read."""

    def __init__(self, value: str) -> None:
        self._value = value

    def meta(self, key: str) -> str:
        return self._value if key == "general.sampling.temp" else ""


@pytest.mark.parametrize(
    ("asked", "recommended", "used"),
    [
        (None, "0.000000", 0.0),
        (None, "1.000000", 1.0),
        (0.3, "0.000000", 0.3),
        (None, "", None),
        (None, "nan", None),
        (None, "-1", None),
        (None, "1e30", None),
        (None, "hot", None),
    ],
)
def test_the_request_wins_then_the_file_if_it_is_sound(
    asked: float | None, recommended: str, used: float | None
) -> None:
    assert as_recommended(Sampling(temperature=asked), Recommends(recommended)).temperature == used
