"""A loaded model file and its vocabulary."""

import ctypes
import os
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.engine.worker.llama.lib import L
from app.core.kernel.errors import InvalidRequest, LoadFailed

_PIECE_BYTES = 256
_META_BYTES = 1 << 16
_MAX_TEXT = 1 << 30


class Model:
    """One `llama_model`. `close` frees it; every context made from it must be closed before."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        self.vocab: int = L.llama_model_get_vocab(pointer)
        self.n_vocab: int = L.llama_vocab_n_tokens(self.vocab)
        self.n_embd: int = L.llama_model_n_embd(pointer)
        self.n_embd_out: int = L.llama_model_n_embd_out(pointer)
        self.n_layers: int = L.llama_model_n_layer(pointer)
        self.n_swa: int = L.llama_model_n_swa(pointer)
        self.n_params: int = L.llama_model_n_params(pointer)
        self.size_bytes: int = L.llama_model_size(pointer)
        self.trained_context: int = L.llama_model_n_ctx_train(pointer)
        self.has_encoder: bool = L.llama_model_has_encoder(pointer)
        self.recurrent: bool = L.llama_model_is_recurrent(pointer) or L.llama_model_is_hybrid(pointer)
        self._pieces: dict[tuple[int, bool], bytes] = {}

    @classmethod
    def load(
        cls,
        files: Sequence[str],
        *,
        gpu_layers: int,
        progress: Callable[[float], None],
        reason: Callable[[], str],
    ) -> "Model":
        """Memory-maps `files`, GGUF splits in order. `progress` gets 0 to 1, `reason` tells llama.cpp's last
        error. Raises LoadFailed."""
        params = L.llama_model_default_params()
        params.n_gpu_layers = gpu_layers

        def on_progress(fraction: float, _data: object) -> bool:
            progress(fraction)
            return True

        callback = L.llama_progress_callback(on_progress)
        params.progress_callback = callback
        names = [os.fsencode(file) for file in files]
        if len(names) == 1:
            pointer = L.llama_model_load_from_file(names[0], params)
        else:
            paths = (ctypes.c_char_p * len(names))(*names)
            pointer = L.llama_model_load_from_splits(paths, len(names), params)
        if not pointer:
            raise LoadFailed(f"llama.cpp could not load the model: {reason() or 'no reason given'}.")
        return cls(pointer)

    def close(self) -> None:
        if self.pointer:
            L.llama_model_free(self.pointer)
            self.pointer = 0

    # --- metadata ---

    def meta(self, key: str) -> str:
        """A metadata value as text, "" where the file has none."""
        buffer = ctypes.create_string_buffer(_META_BYTES)
        size = L.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        if size >= len(buffer):
            buffer = ctypes.create_string_buffer(size + 1)
            L.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else ""

    def chat_template(self) -> str:
        return (L.llama_model_chat_template(self.pointer, None) or b"").decode("utf-8", "replace")

    # --- vocabulary ---

    @property
    def has_vocab(self) -> bool:
        return bool(L.llama_vocab_type(self.vocab))

    @property
    def adds_bos(self) -> bool:
        return bool(L.llama_vocab_get_add_bos(self.vocab))

    @property
    def bos(self) -> int:
        """The id of the token that begins a text, -1 for none."""
        return int(L.llama_vocab_bos(self.vocab))

    @property
    def eos(self) -> int:
        return int(L.llama_vocab_eos(self.vocab))

    def is_end(self, token: int) -> bool:
        """Whether `token` ends an answer (EOS, EOT and their like)."""
        return bool(L.llama_vocab_is_eog(self.vocab, token))

    def end_tokens(self) -> list[int]:
        return [token for token in range(self.n_vocab) if self.is_end(token)]

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> NDArray[np.int32]:
        """Token ids of `text`. Raises InvalidRequest where there is no vocabulary or the text is too long."""
        if not self.has_vocab:
            raise InvalidRequest("This part of a model has no vocabulary, so it takes no text.")
        raw = text.encode("utf-8", "replace")
        if len(raw) > _MAX_TEXT:
            raise InvalidRequest("The text is too long to be tokenized.", param="prompt")
        room = len(raw) + 8
        while True:
            tokens = np.empty(room, np.int32)
            pointer = tokens.ctypes.data_as(L.llama_token_p)
            count = L.llama_tokenize(self.vocab, raw, len(raw), pointer, room, add_special, parse_special)
            if count >= 0:
                return tokens[:count].copy()
            if -count <= room:
                raise InvalidRequest("The text cannot be tokenized by this model.", param="prompt")
            room = -count

    def piece(self, token: int, *, special: bool) -> bytes:
        """The bytes `token` stands for; control tokens are empty unless `special`."""
        key = (token, special)
        known = self._pieces.get(key)
        if known is None:
            known = self._pieces[key] = self._piece(token, special)
        return known

    def _piece(self, token: int, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        size = L.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        if size < 0:
            buffer = ctypes.create_string_buffer(-size)
            size = L.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        return buffer.raw[: max(size, 0)]
