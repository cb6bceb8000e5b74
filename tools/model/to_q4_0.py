#!/usr/bin/env python3
"""Rewrite a GGUF file with its linear weights as Q4_0.

The 2-D weights, whatever their type, are dequantized and quantized again; embeddings, norms and metadata are copied.
"""

import argparse
import fnmatch
import sys
from pathlib import Path

import gguf
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

from read_gguf import read_gguf

EMBEDDING = "token_embd.weight"


def is_linear_weight(tensor):
    return len(tensor.shape) == 2 and tensor.name.endswith(".weight") and tensor.name != EMBEDDING


def to_q4_0(tensor):
    k = int(tensor.shape[0])
    if k % 32 != 0:
        raise ValueError(f"{tensor.name}: k = {k} is not a multiple of 32")
    return quantize(dequantize(tensor.data, tensor.tensor_type), GGMLQuantizationType.Q4_0)


def copy_metadata(reader, writer, with_tokenizer):
    written_by_the_writer = (gguf.Keys.General.ARCHITECTURE, gguf.Keys.General.FILE_TYPE)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in written_by_the_writer:
            continue
        if field.name.startswith("tokenizer.") and not with_tokenizer:
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=element)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)


def convert(source, target, pattern="*", with_tokenizer=True, raw_folder=None):
    """Returns the names of the tensors that became Q4_0."""
    reader = read_gguf(source)
    tensors = [tensor for tensor in reader.tensors if fnmatch.fnmatchcase(tensor.name, pattern)]
    if not any(is_linear_weight(tensor) for tensor in tensors):
        raise ValueError(f"{source}: no 2-D weight has a name like {pattern!r}")
    architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE)
    if architecture is None:
        raise ValueError(f"{source}: no {gguf.Keys.General.ARCHITECTURE} in its metadata")

    writer = GGUFWriter(target, architecture.contents())
    copy_metadata(reader, writer, with_tokenizer)
    converted = []
    for tensor in tensors:
        if not is_linear_weight(tensor):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        blocks = to_q4_0(tensor)
        writer.add_tensor(tensor.name, blocks, raw_dtype=GGMLQuantizationType.Q4_0)
        if raw_folder is not None:
            blocks.tofile(raw_folder / f"{tensor.name}.q4_0")
        converted.append(tensor.name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return converted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="GGUF file to read")
    parser.add_argument("target", type=Path, help="GGUF file to write")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="keep only tensors of such a name: 'blk.0.*'")
    parser.add_argument("--no-tokenizer", action="store_true", help="leave the vocabulary and its merges out")
    parser.add_argument("--raw", metavar="FOLDER", type=Path, help="also write each Q4_0 tensor as FOLDER/NAME.q4_0")
    args = parser.parse_args()

    try:
        if args.target.exists() and args.target.samefile(args.source):
            raise ValueError(f"{args.target}: source and target are the same file")
        if args.raw is not None:
            args.raw.mkdir(parents=True, exist_ok=True)
        converted = convert(args.source, args.target, args.only, not args.no_tokenizer, args.raw)
    except (OSError, ValueError, NotImplementedError) as error:
        sys.exit(f"to_q4_0: {error}")
    print(f"{args.target}: {len(converted)} Q4_0 tensors")


if __name__ == "__main__":
    main()
