#!/usr/bin/env python3
"""Writes a GGUF again with its matrices in float32 or float16, so that llama.cpp computes with the weights of scripts/gguf_to_folder.py.
usage: gguf_dequantise.py SRC.gguf DST.gguf f32|f16
"""
import sys

import gguf
import numpy as np

source, target, kind = sys.argv[1:]
reader = gguf.GGUFReader(source)
writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
for field in reader.fields.values():
    if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type", "general.quantization_version"):
        continue
    first = field.types[0]
    writer.add_key_value(field.name, field.contents(), first, field.types[-1] if first == gguf.GGUFValueType.ARRAY else None)
writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if kind == "f16" else gguf.LlamaFileType.ALL_F32)
for t in reader.tensors:
    values = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
    writer.add_tensor(t.name, values.astype(np.float16) if kind == "f16" and values.ndim > 1 else values)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
