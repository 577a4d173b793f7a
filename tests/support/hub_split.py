"""Split sets as gguf-split makes them."""

from pathlib import Path

import gguf


def split_model(source: Path, folder: Path, count: int) -> list[Path]:
    """`source` in `count` files in the new folder `folder`."""
    folder.mkdir()
    reader = gguf.GGUFReader(source)
    step = -(-len(reader.tensors) // count)
    paths = [folder / f"tiny.F16-{number + 1:05d}-of-{count:05d}.gguf" for number in range(count)]
    for number, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            for key, field in reader.fields.items():
                if not key.startswith("GGUF.") and key != "general.architecture":
                    writer.add_key_value(key, field.contents(), field.types[0])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[number * step : (number + 1) * step]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths
