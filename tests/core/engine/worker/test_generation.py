"""Generation in a real worker process over a real model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.engine.messages import (
    Cancel,
    ChatPrompt,
    Done,
    Embed,
    Failed,
    Finished,
    Forward,
    Generate,
    Piece,
    Ping,
    Pong,
    SetThreads,
    Started,
    Tokenize,
    TokenPrompt,
    Tokens,
)
from app.core.kernel.generation import (
    Gbnf,
    JsonObject,
    JsonSchema,
    Message,
    Sampling,
    Tool,
    ToolChoice,
)
from tests.support.worker_client import Worker, whole
from tests.support.worker_models import Shape, write_encoder, write_model, write_recurrent

LONG = [1, *(300 + i % 200 for i in range(200))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("generation") / "model.gguf")


@pytest.fixture(scope="module")
def worker(model: Path) -> Iterator[Worker]:
    with Worker() as started:
        started.load(whole(model))
        yield started


def test_an_answer_is_started_pieces_finished_done(worker: Worker) -> None:
    request = worker.start("some words", max_tokens=5, ignore_eos=True)
    reports = [worker.receive()[0]]
    while not isinstance(reports[-1], Done):
        reports.append(worker.receive()[0])
    assert isinstance(reports[0], Started)
    assert all(isinstance(report, Piece) for report in reports[1:-2])
    assert reports[-2] == Finished(request=request, choice=0, reason="length", completion_tokens=5)
    assert reports[-1].completion_tokens == 5
    assert reports[-1].prompt_tokens == reports[0].prompt_tokens


def test_greedy_answers_are_the_same_every_time(worker: Worker) -> None:
    first = worker.generate("abc def", max_tokens=12, ignore_eos=True)
    second = worker.generate("abc def", max_tokens=12, ignore_eos=True)
    assert first.tokens() == second.tokens()
    assert len(first.tokens()) == 12


def test_a_seed_decides_the_answer_and_each_choice_has_its_own(worker: Worker) -> None:
    options = {"temperature": 1.0, "max_tokens": 12, "ignore_eos": True}
    first = worker.generate("abc", n=3, seed=7, **options)
    second = worker.generate("abc", n=3, seed=7, **options)
    other = worker.generate("abc", n=3, seed=8, **options)
    choices = [first.tokens(choice) for choice in range(3)]
    assert choices == [second.tokens(choice) for choice in range(3)]
    assert choices != [other.tokens(choice) for choice in range(3)]
    assert len({tuple(choice) for choice in choices}) == 3


def test_without_a_seed_answers_differ(worker: Worker) -> None:
    answers = [worker.generate("abc", temperature=1.0, ignore_eos=True).tokens() for _ in range(2)]
    assert answers[0] != answers[1]


def test_more_choices_than_slots_are_all_answered_from_one_prefill(worker: Worker) -> None:
    answer = worker.generate(LONG, n=10, max_tokens=3, ignore_eos=True)
    assert sorted(answer.finished) == list(range(10))
    assert {tuple(answer.tokens(choice)) for choice in range(10)} == {tuple(answer.tokens(0))}
    assert answer.done.completion_tokens == 30


def test_eight_requests_in_four_slots_all_finish_with_what_they_give_alone(worker: Worker) -> None:
    prompts = [[1, *range(300 + i, 330 + i)] for i in range(8)]
    alone = [worker.generate(prompt, max_tokens=8, ignore_eos=True).tokens() for prompt in prompts]
    requests = [worker.start(prompt, max_tokens=8, ignore_eos=True) for prompt in prompts]
    together = [answer.tokens() for answer in worker.collect(*requests)]
    assert together == alone


def test_answers_go_on_unchanged_when_others_end_and_leave_gaps(worker: Worker) -> None:
    prompts = [[1, *range(300 + i, 340 + i)] for i in range(4)]
    lengths = (30, 4, 9, 30)
    alone = [
        worker.generate(prompt, max_tokens=length, ignore_eos=True).tokens()
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    requests = [
        worker.start(prompt, max_tokens=length, ignore_eos=True)
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    assert [answer.tokens() for answer in worker.collect(*requests)] == alone


def test_a_prompt_sent_again_comes_from_the_cache_with_the_same_answer(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model))
        cold = worker.generate(LONG, max_tokens=8, ignore_eos=True)
        warm = worker.generate(LONG, max_tokens=8, ignore_eos=True)
        assert cold.started.cached_tokens == 0
        assert warm.started.cached_tokens == len(LONG) - 1
        assert warm.tokens() == cold.tokens()
        longer = [*LONG, *cold.tokens(), 400, 401]
        third = worker.generate(longer, max_tokens=8, ignore_eos=True)
        assert third.started.cached_tokens >= len(LONG)
        fork = [*LONG[:150], 7, 8, 9]
        assert worker.generate(fork, max_tokens=1).started.cached_tokens == 150
    with Worker() as fresh:
        fresh.load(whole(model), prefix_cache_bytes=0)
        assert fresh.generate(longer, max_tokens=8, ignore_eos=True).tokens() == third.tokens()
        assert fresh.generate(longer, max_tokens=1).started.cached_tokens == 0


def test_a_model_whose_state_cannot_be_cut_reuses_whole_snapshots_only(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model, exact_rollback=False))
        cold = worker.generate(LONG, max_tokens=8, ignore_eos=True)
        warm = worker.generate(LONG, max_tokens=8, ignore_eos=True)
        assert warm.started.cached_tokens == 192
        assert warm.tokens() == cold.tokens()
        assert worker.generate([*LONG[:150], 7, 8], max_tokens=1).started.cached_tokens == 0


def test_a_recurrent_model_generates_forks_and_is_cached_as_a_whole(tmp_path: Path) -> None:
    window = whole(write_recurrent(tmp_path / "mamba.gguf"), "mamba", 2)
    with Worker() as worker:
        worker.load(window)
        cold = worker.generate(LONG, max_tokens=8, ignore_eos=True)
        assert cold.failed is None
        warm = worker.generate(LONG, max_tokens=8, ignore_eos=True)
        assert warm.started.cached_tokens == 192
        assert warm.tokens() == cold.tokens()
        forked = worker.generate(LONG, n=3, max_tokens=8, ignore_eos=True)
        assert [forked.tokens(choice) for choice in range(3)] == [cold.tokens()] * 3
        prompts = [[1, *range(300 + i, 340 + i)] for i in range(4)]
        alone = [
            worker.generate(prompt, max_tokens=4 * i + 3, ignore_eos=True).tokens()
            for i, prompt in enumerate(prompts)
        ]
        requests = [
            worker.start(prompt, max_tokens=4 * i + 3, ignore_eos=True) for i, prompt in enumerate(prompts)
        ]
        assert [answer.tokens() for answer in worker.collect(*requests)] == alone


def test_the_cache_stays_within_its_bound(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model), prefix_cache_bytes=300_000)
        for start in range(6):
            worker.generate([1, *range(300 + start, 430 + start)], max_tokens=1)
        worker.send(Ping(request=worker.number()))
        pong = worker.expect(Pong)
    assert 1 <= pong.cache_entries < 6
    assert pong.cache_bytes <= 300_000


def test_cancel_ends_a_running_request_with_what_it_has(worker: Worker) -> None:
    request = worker.start("abc", max_tokens=400, ignore_eos=True)
    assert isinstance(worker.receive()[0], Started)
    assert isinstance(worker.receive()[0], Piece)
    worker.send(Cancel(request=request))
    answer = worker.collect(request)[0]
    assert answer.finished[0].reason == "cancelled"
    assert 0 < answer.done.completion_tokens < 400


def test_cancel_ends_requests_that_wait_and_choices_that_never_began(worker: Worker) -> None:
    running = [worker.start(f"run {i}", max_tokens=300, ignore_eos=True) for i in range(4)]
    waiting = worker.start("wait", n=3, max_tokens=300)
    worker.send(Cancel(request=waiting))
    for request in running:
        worker.send(Cancel(request=request))
    answers = worker.collect(*running, waiting)
    assert all(answer.finished[0].reason == "cancelled" for answer in answers)
    assert {finished.reason for finished in answers[-1].finished.values()} == {"cancelled"}
    assert sorted(answers[-1].finished) == [0, 1, 2]
    assert len(worker.generate("still there").tokens()) > 0


def test_cancelling_what_is_over_or_unknown_does_nothing(worker: Worker) -> None:
    worker.send(Cancel(request=999_999))
    worker.send(Ping(request=(number := worker.number())))
    assert worker.expect(Pong).request == number


def test_a_stop_sequence_across_tokens_ends_the_answer_before_it(worker: Worker) -> None:
    free = worker.generate("abc", max_tokens=40, ignore_eos=True)
    text = free.text()
    stop = text[len(text) // 2 : len(text) // 2 + 4]
    stopped = worker.generate("abc", max_tokens=40, ignore_eos=True, stop=("never to be", stop))
    assert stopped.text() == text[: text.index(stop)]
    assert stopped.finished[0].reason == "stop"
    assert stopped.finished[0].stop == stop


def test_max_tokens_and_the_context_end_an_answer_with_length(worker: Worker) -> None:
    prompt = [1] + [300] * 499
    answer = worker.generate(prompt, max_tokens=400, ignore_eos=True)
    assert answer.finished[0].reason == "length"
    assert answer.done.completion_tokens == 12


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(worker: Worker) -> None:
    failed = worker.generate([1] * 600).failed
    assert failed.code == "context_length_exceeded"
    assert "600" in failed.message
    assert "512" in failed.message


def test_the_end_token_ends_an_answer_unless_it_is_ignored(worker: Worker) -> None:
    ended = worker.generate("abc", logit_bias={2: 1000.0})
    assert ended.finished[0].reason == "stop"
    assert ended.finished[0].completion_tokens == 0
    assert ended.text() == ""
    ignored = worker.generate("abc", logit_bias={2: 1000.0}, ignore_eos=True, max_tokens=4)
    assert ignored.finished[0].reason == "length"


def test_logit_bias_forces_and_forbids_tokens(worker: Worker) -> None:
    forced = worker.generate("abc", logit_bias={333: 1000.0}, max_tokens=3)
    assert forced.tokens() == [333, 333, 333]
    favourite = worker.generate("abc", max_tokens=1, ignore_eos=True).tokens()[0]
    assert favourite not in worker.generate("abc", logit_bias={favourite: -1000.0}, max_tokens=1).tokens()


def test_penalties_keep_a_token_from_coming_again(worker: Worker) -> None:
    options = {"logit_bias": {333: 1000.0, 334: 985.0}, "max_tokens": 2}
    assert worker.generate("abc", **options).tokens() == [333, 333]
    assert worker.generate("abc", presence_penalty=30.0, **options).tokens() == [333, 334]
    assert worker.generate("abc", frequency_penalty=30.0, **options).tokens() == [333, 334]
    assert worker.generate([1, 333], repeat_penalty=5.0, **options).tokens()[0] == 334
    assert worker.generate([1, 333], presence_penalty=30.0, **options).tokens() == [333, 334]


@pytest.mark.parametrize(
    "options", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"typical_p": 1e-6, "top_k": 1}]
)
def test_narrow_filters_leave_only_the_likeliest_token(worker: Worker, options: dict[str, float]) -> None:
    greedy = worker.generate("abc", max_tokens=6, ignore_eos=True).tokens()
    assert (
        worker.generate("abc", max_tokens=6, ignore_eos=True, temperature=2.0, **options).tokens() == greedy
    )


def test_logprobs_are_those_of_the_full_softmax(worker: Worker) -> None:
    answer = worker.generate("abc", max_tokens=3, ignore_eos=True, logprobs=20)
    logprobs = [logprob for piece in answer.pieces for logprob in piece.logprobs]
    assert [logprob.token for logprob in logprobs] == answer.tokens()
    for logprob in logprobs:
        assert len(logprob.top) == 20
        assert logprob.top[0].token == logprob.token
        assert [top.logprob for top in logprob.top] == sorted((t.logprob for t in logprob.top), reverse=True)
        assert sum(np.exp(top.logprob) for top in logprob.top) < 1
    everything = worker.generate("abc", max_tokens=1, ignore_eos=True, logprobs=512).pieces[0].logprobs[0]
    assert sum(np.exp(top.logprob) for top in everything.top) == pytest.approx(1.0)
    assert everything.top[0].logprob == pytest.approx(logprobs[0].logprob)
    assert not worker.generate("abc", max_tokens=1).pieces[0].logprobs


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"logit_bias": {512: 1.0}}, "logit_bias"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias"),
        ({"logit_bias": {5: float("nan")}}, "logit_bias"),
        ({"logit_bias": {5: 1e30}}, "logit_bias"),
        ({"temperature": float("nan")}, "temperature"),
        ({"presence_penalty": -1e30}, "presence_penalty"),
        ({"n": 0}, "n"),
        ({"n": 1_000_000_000}, "n"),
        ({"repeat_penalty": 0.0}, "repeat_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_options_that_llama_cpp_would_not_survive_are_refused(
    worker: Worker, options: dict[str, object], param: str
) -> None:
    failed = worker.generate("abc", **options).failed
    assert (failed.code, failed.param) == ("invalid_request", param)


@pytest.mark.parametrize("tokens", [[], [512], [-1], [1, 1 << 30]])
def test_token_ids_outside_of_the_vocabulary_are_refused(worker: Worker, tokens: list[int]) -> None:
    assert worker.generate(tokens).failed.code == "invalid_request"


def test_a_grammar_holds(worker: Worker) -> None:
    digits = worker.generate("abc", grammar=Gbnf('root ::= [0-9]+ "!"'), temperature=1.0, max_tokens=30)
    assert set(digits.text().rstrip("!")) <= set("0123456789")
    exact = worker.generate("abc", grammar=Gbnf('root ::= "yes" | "yep"'), max_tokens=30)
    assert exact.text() in {"yes", "yep"}
    assert exact.finished[0].reason == "stop"
    assert worker.generate("abc", grammar=JsonObject(), max_tokens=8).text().startswith("{")
    schema = '{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}'
    fixed = worker.generate("abc", grammar=JsonSchema(schema), max_tokens=60)
    assert json.loads(fixed.text()) == {"a": 1}


def test_a_grammar_that_is_complete_ends_the_answer_even_if_ends_are_ignored(worker: Worker) -> None:
    answer = worker.generate("abc", grammar=Gbnf('root ::= "yes"'), ignore_eos=True, max_tokens=30)
    assert answer.text() == "yes"
    assert answer.finished[0].reason == "stop"


def test_an_invalid_grammar_is_refused_and_the_worker_goes_on(worker: Worker) -> None:
    for grammar in (Gbnf("root ::= ("), Gbnf("root ::= root"), JsonSchema("{"), JsonSchema('{"type": "x"}')):
        assert worker.generate("abc", grammar=grammar).failed.code == "invalid_grammar"
    assert worker.generate("abc").failed is None


def test_a_grammar_whose_states_double_with_every_character_is_given_up(worker: Worker) -> None:
    doubling = Gbnf('root ::= "a" root "b" | "a" root "c" | "d"')
    answer = worker.generate("abc", grammar=doubling, logit_bias={259: 1000.0}, max_tokens=400)
    assert answer.failed.code == "invalid_grammar"
    assert worker.generate("abc").failed is None


def test_a_conversation_is_rendered_with_the_models_template(worker: Worker) -> None:
    prompt = ChatPrompt(messages=(Message(role="user", content="hi"),))
    worker.send(Tokenize(request=worker.number(), prompt=prompt))
    tokens = worker.expect(Tokens).tokens
    assert tokens[0] == 1
    assert tokens.count(1) == 1
    request = worker.number()
    worker.send(Generate(request=request, prompt=prompt, sampling=Sampling(temperature=0.0, max_tokens=3)))
    answer = worker.collect(request)[0]
    assert answer.started.prompt_tokens == len(tokens)
    assert answer.started.prompt_tail.endswith("assistant:")


def test_a_required_tool_call_is_one_whatever_the_model_would_rather_say(tmp_path: Path) -> None:
    schema = '{"type": "object", "properties": {"on": {"enum": [true]}}, "required": ["on"]}'
    prompt = ChatPrompt(
        messages=(Message(role="user", content="hi"),),
        tools=(Tool(name="lamp", parameters=schema), Tool(name="door", parameters=schema)),
        tool_choice=ToolChoice(mode="named", name="door"),
        parallel_tool_calls=False,
    )
    with Worker() as worker:
        worker.load(whole(write_model(tmp_path / "long.gguf", Shape(context=4096))), context_tokens=4096)
        request = worker.number()
        sampling = Sampling(temperature=1.0, seed=1, max_tokens=200)
        worker.send(Generate(request=request, prompt=prompt, sampling=sampling))
        answer = worker.collect(request)[0]
    assert answer.failed is None
    assert answer.finished[0].reason == "stop"
    assert '"name": "door"' in answer.text()
    assert "true" in answer.text()


@pytest.mark.parametrize("temperature", [1e-30, 1e-4, -1.0, 1e6])
def test_extreme_temperatures_are_survived(worker: Worker, temperature: float) -> None:
    answer = worker.generate("abc", temperature=temperature, max_tokens=4, ignore_eos=True)
    greedy = worker.generate("abc", max_tokens=4, ignore_eos=True)
    assert (answer.tokens() == greedy.tokens()) == (temperature < 1)


def test_a_long_prefill_does_not_keep_a_running_answer_waiting(model: Path) -> None:
    with Worker() as worker:
        worker.load(whole(model), prefill_chunk=16)
        running = worker.start("abc", max_tokens=200, ignore_eos=True)
        worker.expect(Started)
        worker.expect(Piece)
        late = worker.start([1] + [300] * 400, max_tokens=1)
        between = 0
        for report in worker.reports():
            if isinstance(report, Done) and report.request == late:
                break
            between += isinstance(report, Piece) and report.request == running
        assert between >= 400 // 16
        worker.send(Cancel(request=running))


def test_ping_tells_what_goes_on(worker: Worker) -> None:
    requests = [worker.start("abc", max_tokens=300, ignore_eos=True) for _ in range(6)]
    worker.send(Ping(request=worker.number()))
    pong = next(report for report in worker.reports() if isinstance(report, Pong))
    for request in requests:
        worker.send(Cancel(request=request))
    assert pong.busy_slots + pong.waiting <= 6
    assert pong.resident_bytes > 1 << 20
    time.sleep(0)
    _drain(worker)


def _drain(worker: Worker) -> None:
    worker.send(Ping(request=(number := worker.number())))
    for report in worker.reports():
        if isinstance(report, Pong) and report.request == number:
            return


def test_threads_can_be_changed_between_ticks(worker: Worker) -> None:
    before = worker.generate("abc", max_tokens=4, ignore_eos=True).tokens()
    worker.send(SetThreads(decode=2, prefill=2))
    assert worker.generate("abc", max_tokens=4, ignore_eos=True).tokens() == before
    worker.send(SetThreads(decode=1, prefill=1))


def test_a_whole_model_refuses_forwards_and_a_model_that_computes_no_numbers_fails(
    worker: Worker, tmp_path: Path
) -> None:
    worker.send(Forward(request=worker.number(), sequence=0, position=0, rows=1, wanted=1), b"\0" * 4)
    assert worker.expect(Failed).code == "unsupported"
    with Worker() as broken:
        broken.load(whole(write_model(tmp_path / "nan.gguf", poison=True)))
        assert broken.generate("abc").failed.code == "bad_model_file"
        broken.send(Ping(request=broken.number()))
        broken.expect(Pong)


def test_embeddings_are_normalised_and_apart(worker: Worker) -> None:
    vectors, prompt_tokens = _embed(worker, ("abc", "abc", "something else", (1, 300, 301)))
    assert vectors.shape == (4, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    assert abs(float(vectors[0] @ vectors[2])) < 0.999
    assert prompt_tokens > 4
    raw, _ = _embed(worker, ("abc",), normalize=False)
    np.testing.assert_allclose(raw[0] / np.linalg.norm(raw[0]), vectors[0], atol=1e-5)
    last, _ = _embed(worker, ("abc",), pooling="last")
    assert abs(float(last[0] @ vectors[0])) < 0.9999


def test_many_inputs_are_embedded_in_batches(worker: Worker) -> None:
    inputs = tuple(f"text number {i} " * 10 for i in range(40))
    together, _ = _embed(worker, inputs)
    alone, _ = _embed(worker, inputs[33:34])
    np.testing.assert_allclose(together[33], alone[0], atol=1e-4)


def test_an_input_longer_than_the_context_is_refused(worker: Worker) -> None:
    worker.send(Embed(request=worker.number(), inputs=("a", tuple([300] * 600))))
    failed = worker.expect(Failed)
    assert failed.code == "context_length_exceeded"
    assert "600" in failed.message


def _embed(worker: Worker, inputs: tuple[object, ...], **options: object) -> tuple[np.ndarray, int]:
    worker.send(Embed(request=worker.number(), inputs=inputs, **options))
    report, payload = worker.receive()
    assert not isinstance(report, Failed), report
    return np.frombuffer(payload, np.float32).reshape(report.count, report.width), report.prompt_tokens


def test_an_encoder_embeds_with_its_own_pooling_and_refuses_to_generate(tmp_path: Path) -> None:
    with Worker() as worker:
        loaded = worker.load(whole(write_encoder(tmp_path / "bert.gguf"), "bert", 1))
        assert loaded.info.pooling is None
        vectors, _ = _embed(worker, ("a b c", "a b d", "x"))
        assert vectors.shape == (3, 32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
        mean, _ = _embed(worker, ("a b c",), pooling="mean")
        assert not np.allclose(mean[0], vectors[0], atol=1e-3)
        assert worker.generate("a b").failed.code == "unsupported"
        worker.send(Embed(request=worker.number(), inputs=("a " * 100,)))
        assert worker.expect(Failed).code == "context_length_exceeded"
        worker.send(SetThreads(decode=1, prefill=1))
        worker.send(Ping(request=worker.number()))
        worker.expect(Pong)


def test_a_model_tells_the_pooling_it_declares(tmp_path: Path) -> None:
    with Worker() as worker:
        encoder = write_encoder(tmp_path / "bert.gguf", pooling=1)
        assert worker.load(whole(encoder, "bert", 1)).info.pooling == "mean"


def test_embedding_beside_a_running_answer_changes_neither(worker: Worker) -> None:
    alone = worker.generate("abc", max_tokens=60, ignore_eos=True).tokens()
    request = worker.start("abc", max_tokens=60, ignore_eos=True)
    worker.send(Embed(request=worker.number(), inputs=("abc",)))
    tokens: list[int] = []
    embedded = False
    for report in worker.reports():
        if isinstance(report, Piece):
            tokens += report.tokens
        embedded = embedded or type(report).__name__ == "Embeddings"
        if isinstance(report, Done) and report.request == request:
            break
    assert tokens == alone
    assert embedded


def test_tokenizing_needs_no_slot(worker: Worker) -> None:
    worker.send(Tokenize(request=worker.number(), prompt=TokenPrompt(tokens=(1, 5))))
    assert worker.expect(Tokens).tokens == (1, 5)


def test_a_slot_never_exceeds_what_the_model_was_trained_for(tmp_path: Path) -> None:
    with Worker() as worker:
        loaded = worker.load(
            whole(write_model(tmp_path / "short.gguf", Shape(context=256))), context_tokens=4096
        )
    assert loaded.info.context_tokens == 256
