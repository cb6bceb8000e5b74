#!/usr/bin/env python3
"""Run text through the first layers of a llama-architecture GGUF file and write what its matrices are multiplied with.

Writes FOLDER/NAME.f16 for each of a layer's seven matrices: the rows of its input, one per token, as raw
little-endian FP16, row-major.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from gguf.quants import dequantize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from read_gguf import read_gguf


class Model:
    """Weights as FP32 and hyperparameters of a llama-architecture model."""

    def __init__(self, path):
        self.path = path
        reader = read_gguf(path)
        self.fields = reader.fields
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        if self.value("general.architecture") != "llama":
            raise ValueError(f"{path}: architecture {self.value('general.architecture')!r}, expected 'llama'")
        self.layers = self.value("llama.block_count")
        self.heads = self.value("llama.attention.head_count")
        self.kv_heads = self.value("llama.attention.head_count_kv")
        self.epsilon = self.value("llama.attention.layer_norm_rms_epsilon")
        self.rope_base = self.value("llama.rope.freq_base")

    def value(self, key):
        if key not in self.fields:
            raise ValueError(f"{self.path}: no {key} in its metadata")
        return self.fields[key].contents()

    def weight(self, name):
        if name not in self.tensors:
            raise ValueError(f"{self.path}: no tensor {name}")
        return dequantize(self.tensors[name].data, self.tensors[name].tensor_type)

    def tokenizer(self):
        if self.value("tokenizer.ggml.model") != "gpt2":
            raise ValueError(f"{self.path}: tokenizer {self.value('tokenizer.ggml.model')!r}, expected 'gpt2' (BPE)")
        vocabulary = {token: index for index, token in enumerate(self.value("tokenizer.ggml.tokens"))}
        merges = [tuple(merge.split(" ")) for merge in self.value("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer


def rms_norm(x, weight, epsilon):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rotate(x, base):
    """Rotary position embedding of [tokens, heads, size]. GGUF stores llama's pairs next to each other."""
    tokens, _, size = x.shape
    angles = np.outer(np.arange(tokens), base ** (-np.arange(0, size, 2) / size))[:, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    rotated = np.empty_like(x)
    rotated[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
    rotated[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
    return rotated


def attention(q, k, v, model):
    tokens = len(q)
    q = rotate(q.reshape(tokens, model.heads, -1), model.rope_base)
    k = rotate(k.reshape(tokens, model.kv_heads, -1), model.rope_base)
    v = v.reshape(tokens, model.kv_heads, -1)
    queries_per_key = model.heads // model.kv_heads
    k, v = (np.repeat(each, queries_per_key, axis=1) for each in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
    scores += np.triu(np.full((tokens, tokens), -np.inf), 1)
    return np.einsum("hqk,khd->qhd", softmax(scores), v).reshape(tokens, -1)


def run_layer(model, layer, x):
    """Returns the layer's output and the input of each of its seven matrices."""
    inputs = {}

    def linear(name, value):
        inputs[f"blk.{layer}.{name}.weight"] = value
        return value @ model.weight(f"blk.{layer}.{name}.weight").T

    normed = rms_norm(x, model.weight(f"blk.{layer}.attn_norm.weight"), model.epsilon)
    q, k, v = (linear(f"attn_{name}", normed) for name in "qkv")
    x = x + linear("attn_output", attention(q, k, v, model))
    normed = rms_norm(x, model.weight(f"blk.{layer}.ffn_norm.weight"), model.epsilon)
    gate, up = linear("ffn_gate", normed), linear("ffn_up", normed)
    x = x + linear("ffn_down", gate / (1 + np.exp(-gate)) * up)
    return x, inputs


def predict(model, x, count):
    """Ids of the likeliest tokens after the last: the check that the layers above are computed as the model means them."""
    head = "output.weight" if "output.weight" in model.tensors else "token_embd.weight"
    last = rms_norm(x[-1], model.weight("output_norm.weight"), model.epsilon)
    return np.argsort(-(model.weight(head) @ last))[:count].tolist()


def write(inputs, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in inputs.items():
        with np.errstate(over="ignore"):
            half = value.astype("<f2")
        if not np.isfinite(half).all():
            raise ValueError(f"{name}: an activation does not fit FP16 (largest {np.abs(value).max():g})")
        half.tofile(folder / f"{name}.f16")
        m, k = half.shape
        print(f"{name}: m={m} k={k} rms={np.sqrt(np.mean(value**2)):.3g} max={np.abs(value).max():.3g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="GGUF file of a llama-architecture model with its tokenizer")
    parser.add_argument("folder", type=Path, nargs="?", help="where the .f16 files go")
    parser.add_argument("--text", required=True, help="plain text; one row per token")
    parser.add_argument("--layer", type=int, default=0, help="whose inputs to write (default 0, the first)")
    parser.add_argument("--predict", type=int, metavar="N", help="run all layers, print the N likeliest next tokens")
    args = parser.parse_args()

    try:
        if args.folder is None and args.predict is None:
            raise ValueError("nothing to do: name a folder to write to, or ask to --predict")
        model = Model(args.model)
        if not 0 <= args.layer < model.layers:
            raise ValueError(f"--layer {args.layer}: {args.model} has layers 0 to {model.layers - 1}")
        tokenizer = model.tokenizer()
        ids = tokenizer.encode(args.text).ids
        if not ids:
            raise ValueError("--text: gives no token")
        print(f"{len(ids)} tokens: {[tokenizer.decode([i]) for i in ids]}")
        x = model.weight("token_embd.weight")[ids]
        for layer in range(model.layers if args.predict else args.layer + 1):
            x, inputs = run_layer(model, layer, x)
            if layer == args.layer and args.folder is not None:
                write(inputs, args.folder)
        if args.predict:
            print(f"next: {[tokenizer.decode([i]) for i in predict(model, x, args.predict)]}")
    except (OSError, ValueError, NotImplementedError) as error:
        sys.exit(f"activations: {error}")


if __name__ == "__main__":
    main()
