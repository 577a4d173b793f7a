"""Writes the trained weights and the tokenizer as one GGUF file in Q8_0, without the help of llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from tokenizers import Tokenizer

from tools.guide.network import Guide, Shape
from tools.guide.tokens import END_OF_TEXT, SPECIAL, TURN_END

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAME = "SwarmLLM guide"
DESCRIPTION = (
    "Built-in demonstration model of SwarmLLM. It explains the program and declines the rest; it is not a "
    "help desk. Trained from scratch on text written for this project."
)


def write(model: Guide, tokenizer: Tokenizer, path: Path) -> None:
    """Write the file; matrices in Q8_0, norms in full precision."""
    writer = GGUFWriter(path, "llama")
    _describe(writer)
    _add_shape(writer, model.shape)
    _add_tokenizer(writer, tokenizer)
    for name, tensor in model.state_dict().items():
        _add_tensor(writer, name, tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_weights(path: Path, model: Guide) -> None:
    """Load a checkpoint of ``train`` into a model of the same shape."""
    model.load_state_dict(torch.load(path))


def _describe(writer: GGUFWriter) -> None:
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_author("The SwarmLLM project")
    writer.add_license("Apache-2.0")
    writer.add_languages(["en"])
    writer.add_tags(["demonstration", "built-in"])
    # So small a model loses the thread when its answers are sampled.
    writer.add_float32("general.sampling.temp", 0.0)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_shape(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.theta)
    writer.add_vocab_size(shape.vocabulary)


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    )
    writer.add_token_types([TokenType.CONTROL if token in SPECIAL else TokenType.NORMAL for token in tokens])
    writer.add_eos_token_id(tokens.index(TURN_END))
    writer.add_eot_token_id(tokens.index(TURN_END))
    writer.add_pad_token_id(tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensor(writer: GGUFWriter, name: str, values: np.ndarray) -> None:
    if values.ndim == 1:
        writer.add_tensor(name, values)
        return
    packed = gguf.quantize(values, GGMLQuantizationType.Q8_0)
    writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
