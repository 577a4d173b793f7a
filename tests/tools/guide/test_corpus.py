"""The dialogues: the same seed gives the same ones, and follow-ups fit what was said before."""

from __future__ import annotations

import itertools

import pytest

from tools.guide.corpus import NO_MORE, SAME_ANYWHERE, Corpus, Dialogue, Turn, render


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(5)


def texts(seed: int, count: int) -> list[str]:
    return ["".join(piece for piece, _ in render(made)) for made in Corpus(seed).dialogues(count)]


def test_the_same_seed_gives_the_same_dialogues() -> None:
    assert texts(3, 300) == texts(3, 300)


def test_another_seed_gives_others() -> None:
    assert texts(3, 300) != texts(4, 300)


def test_no_pattern_is_left_in_a_question(corpus: Corpus) -> None:
    for made in itertools.islice(corpus.dialogues(3000), 3000):
        for turn in made.turns:
            assert not set("{}") & set(turn.question), turn.question


def test_every_intent_can_be_asked(corpus: Corpus) -> None:
    for name, intent in corpus.intents.items():
        turn = corpus.turn(name)
        assert turn.question
        assert turn.answer == intent.answer


def test_dialogues_are_rendered_as_chatml() -> None:
    made = Dialogue([Turn("Hi", "Hello!", "hello")], system="Be brief.")
    assert "".join(piece for piece, _ in render(made)) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
    )


def test_a_question_about_another_system_keeps_the_topic(corpus: Corpus) -> None:
    first = corpus.turn("install-linux")
    then = corpus.follow_up("system", first, "windows")
    assert then.answer == corpus.intents["install-windows"].answer


def test_a_topic_without_systems_works_the_same_everywhere(corpus: Corpus) -> None:
    assert corpus.follow_up("system", corpus.turn("shard"), "mac").answer == SAME_ANYWHERE


def test_more_is_told_where_there_is_more(corpus: Corpus) -> None:
    assert corpus.follow_up("more", corpus.turn("shard")).answer == corpus.intents["shard"].more
    assert corpus.follow_up("more", corpus.turn("ports")).answer == NO_MORE


def test_repeating_gives_the_last_answer_again(corpus: Corpus) -> None:
    first = corpus.turn("ports")
    assert corpus.follow_up("repeat", first).answer == first.answer
