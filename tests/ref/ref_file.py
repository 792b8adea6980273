"""Writer of the named tensors that tests/ref_file.h reads; the layout is described there."""
import struct

import numpy as np

TYPES = {np.dtype("float32"): 0, np.dtype("int32"): 1, np.dtype("uint8"): 2, np.dtype("float64"): 3}


def write(path, tensors):
    """tensors: {name: numpy array or torch tensor}; bool and int64 become int32."""
    out = bytearray(b"SELLAREF" + struct.pack("<II", 1, len(tensors)))
    for name, value in tensors.items():
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        value = np.asarray(value)
        shape = value.shape
        if value.dtype in (np.dtype("bool"), np.dtype("int64")):
            assert value.size == 0 or abs(value.astype("int64")).max() < 2**31, name
            value = value.astype("int32")
        value = np.ascontiguousarray(value)
        raw = name.encode()
        out += struct.pack("<I", len(raw)) + raw + struct.pack("<II", TYPES[value.dtype], len(shape))
        out += struct.pack(f"<{len(shape)}Q", *shape)
        out += bytes(-len(out) % 8)
        out += value.tobytes()
        out += bytes(-len(out) % 8)
    with open(path, "wb") as file:
        file.write(out)
    print(f"{path}: {len(tensors)} tensors, {len(out)} bytes")
