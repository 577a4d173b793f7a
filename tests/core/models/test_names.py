"""Names for people and ids for folders come from whatever a file says of itself."""

from app.core.models.gguf.metadata import Metadata
from app.core.models.gguf.reader import parse_header
from app.core.models.names import display_name, license_name, model_id, quantization_name, unused_id
from tests.support.gguf_corpus import file_of, number_field, text_field


def metadata(*fields: bytes) -> Metadata:
    raw = file_of(fields=list(fields))
    return parse_header(raw, len(raw)).metadata


def test_the_quantization_is_what_the_file_says() -> None:
    assert quantization_name(metadata(number_field("general.file_type", 15)), []) == "Q4_K_M"
    assert quantization_name(metadata(number_field("general.file_type", 1024 + 7)), []) == "Q8_0"


def test_the_display_name_ends_in_the_quantization_once() -> None:
    named = metadata(text_field("general.name", "Qwen2.5 Coder 7B Instruct"))
    assert display_name(named, "x", "Q4_K_M") == "Qwen2.5 Coder 7B Instruct Q4_K_M"
    again = metadata(text_field("general.name", "Mine Q4_K_M"))
    assert display_name(again, "x", "Q4_K_M") == "Mine Q4_K_M"
    special = metadata(text_field("general.name", "Mine"))
    assert display_name(special, "mine-UD-Q2_K_XL", "Q2_K") == "Mine UD-Q2_K_XL"
    assert display_name(metadata(), "tiny_model-q8_0", "Q8_0") == "tiny model Q8_0"


def test_names_lose_what_cannot_be_shown() -> None:
    odd = metadata(text_field("general.name", "a\x00b\n\x1b[31m  c"), text_field("general.license", "mit\n"))
    assert display_name(odd, "x", "F16") == "a b [31m c F16"
    assert license_name(odd) == "mit"


def test_ids_are_safe_as_folder_names_everywhere() -> None:
    assert model_id("Qwen2.5 Coder 7B Instruct Q4_K_M") == "qwen2.5-coder-7b-instruct-q4_k_m"
    for name in ("../../etc/passwd", "..", ".", "", "a/b\\c", "\u6a21\u578b", "." * 300, "x" * 300):
        made = model_id(name)
        assert 0 < len(made) <= 96
        assert made[0] not in ".-"
        assert not set(made) - set("abcdefghijklmnopqrstuvwxyz0123456789._-")


def test_taken_ids_are_numbered() -> None:
    assert unused_id("a", ["b"]) == "a"
    assert unused_id("a", ["a", "a-2"]) == "a-3"
