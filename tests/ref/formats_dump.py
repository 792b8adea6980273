"""Writes the model-file fixtures of tests/ref with the packages safetensors, gguf and numpy.

    python tests/ref/formats_dump.py

Value k of every tensor is f(k) = (k * 37 % 101 - 50) / 8: exact in F32, F16 and BF16, so that the tests compute it again.
The gguf package names each block type's bytes; expected values of Q8_0 come from its own dequantizer.
"""
import os

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))


def values(*shape):
    k = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((k * 37 % 101 - 50) / 8).astype(np.float32).reshape(shape)


def path(name):
    return os.path.join(HERE, name)


def main():
    save_file(
        {
            "a.weight": values(3, 5),
            "b.half": values(2, 2, 3).astype(np.float16),
            "c.count": np.arange(4, dtype=np.int64),
            "d.scalar": values(1).reshape(()),
            "e.empty": values(0, 7),
        },
        path("formats_small.safetensors"),
        metadata={"format": "pt", "note": "Größe"},
    )

    for name, big in (("formats_small.gguf", False), ("formats_big_endian.gguf", True)):
        endian = gguf.GGUFEndian.BIG if big else gguf.GGUFEndian.LITTLE
        writer = gguf.GGUFWriter(path(name), "llama", endianess=endian)
        writer.add_uint32("test.u32", 4000000000)
        writer.add_int8("test.i8", -5)
        writer.add_uint64("test.u64", 2**63 + 1)
        writer.add_int64("test.i64", -(2**40))
        writer.add_float32("test.f32", 0.1)
        writer.add_float64("test.f64", 0.1)
        writer.add_bool("test.yes", True)
        writer.add_string("test.text", "Größe 大小")
        writer.add_array("test.texts", ["one", "", "three"])
        writer.add_array("test.ints", [1, -2, 3])
        writer.add_array("test.reals", [0.5, -1.25])
        writer.add_tensor("matrix", values(2, 64))
        writer.add_tensor("half", values(3, 4).astype(np.float16))
        writer.add_tensor("vector", values(7))
        q8 = gguf.quants.quantize(values(2, 64), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("eight", q8, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        q5 = gguf.quants.quantize(values(2, 64), gguf.GGMLQuantizationType.Q5_0)
        writer.add_tensor("five", q5, raw_dtype=gguf.GGMLQuantizationType.Q5_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        if not big:
            gguf.quants.dequantize(q8, gguf.GGMLQuantizationType.Q8_0).astype("<f4").tofile(path("formats_q8.f32"))

    np.save(path("formats_f32.npy"), values(3, 4))
    np.save(path("formats_i64.npy"), np.arange(5, dtype=np.int64) - 2)
    np.save(path("formats_u8.npy"), np.arange(6, dtype=np.uint8))
    np.save(path("formats_f64.npy"), values(2, 2).astype(np.float64))
    np.save(path("formats_i32.npy"), (np.arange(6, dtype=np.int32) * 1000).reshape(2, 3))
    np.save(path("formats_fortran.npy"), np.asfortranarray(values(3, 4)))
    np.save(path("formats_cube.npy"), values(2, 3, 4))


if __name__ == "__main__":
    main()
