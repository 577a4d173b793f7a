"""Whether llama.cpp's own grammar sampler lets a text through, with the built-in model's vocabulary."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp


class Judge:
    def __init__(self, vocab: ctypes.c_void_p) -> None:
        self._vocab = vocab
        self._eos = llama_cpp.llama_vocab_eos(vocab)

    def accepts(self, grammar: str, text: str) -> bool:
        """Whether `text` may be written under `grammar`, and the answer may end there."""
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, grammar.encode(), b"root")
        assert sampler, grammar
        try:
            tokens = self._tokens(text)
            for token in tokens:
                if not self._allowed(sampler, token):
                    return False
                llama_cpp.llama_sampler_accept(sampler, token)
            return self._allowed(sampler, self._eos)
        finally:
            llama_cpp.llama_sampler_free(sampler)

    def _tokens(self, text: str) -> list[int]:
        data = text.encode()
        tokens = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self._vocab, data, len(data), tokens, len(tokens), False, False)
        assert count >= 0
        return list(tokens[:count])

    def _allowed(self, sampler: object, token: int) -> bool:
        data = (llama_cpp.llama_token_data * 1)(llama_cpp.llama_token_data(token, 1.0, 0.0))
        array = llama_cpp.llama_token_data_array(data=data, size=1, selected=-1, sorted=False)
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        return data[0].logit == 1.0


@contextmanager
def judge(path: Path) -> Iterator[Judge]:
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    assert model
    try:
        yield Judge(llama_cpp.llama_model_get_vocab(model))
    finally:
        llama_cpp.llama_model_free(model)
