import pytest

from app.core.kernel import errors


def test_every_code_belongs_to_exactly_one_class() -> None:
    kinds = set(errors.BY_CODE.values())
    assert len(kinds) == len(errors.BY_CODE)
    assert all(kind.code == code for code, kind in errors.BY_CODE.items())


def test_an_error_survives_a_process_border() -> None:
    sent = errors.ContextOverflow("The prompt has 900 tokens.", param="messages")
    got = errors.error_from_code(sent.code, sent.message, sent.param)
    assert type(got) is errors.ContextOverflow
    assert (str(got), got.param) == ("The prompt has 900 tokens.", "messages")


def test_an_unknown_code_is_still_an_expected_error() -> None:
    got = errors.error_from_code("from-the-future", "Something else.")
    assert type(got) is errors.SwarmError
    assert str(got) == "Something else."


@pytest.mark.parametrize("child", [errors.ContextOverflow, errors.InvalidGrammar, errors.Unsupported])
def test_what_the_client_got_wrong_is_an_invalid_request(child: type[errors.SwarmError]) -> None:
    assert issubclass(child, errors.InvalidRequest)
