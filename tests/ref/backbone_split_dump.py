"""Writes backbone_split-0000N-of-00003.gguf: the tensors and keys of backbone_qwen2.gguf in three files, cut by the gguf package's own
writer (the layout of llama.cpp's gguf-split). Needs gguf, numpy. Run: python tests/ref/backbone_split_dump.py"""
import pathlib
import gguf
from gguf.constants import GGUFValueType

here = pathlib.Path(__file__).parent
reader = gguf.GGUFReader(here / "backbone_qwen2.gguf")
writer = gguf.GGUFWriter(here / "backbone_split.gguf", "qwen2", split_max_tensors=10)
for field in reader.fields.values():
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        continue
    kind = field.types[0]
    writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)
for tensor in reader.tensors:
    shape = [int(d) for d in reversed(tensor.shape)]
    if tensor.tensor_type == gguf.GGMLQuantizationType.BF16:
        writer.add_tensor(tensor.name, tensor.data, raw_shape=tensor.data.shape, raw_dtype=gguf.GGMLQuantizationType.BF16)
    else:
        writer.add_tensor(tensor.name, tensor.data.reshape(shape))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
