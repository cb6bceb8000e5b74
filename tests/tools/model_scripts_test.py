"""The scripts of tools/model on a model made here: one layer, random weights. Exits with 77, "skipped", where their
Python packages are not installed."""

import contextlib
import io
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "tools" / "model"
sys.path.insert(0, str(SCRIPTS))

try:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
    from gguf.quants import dequantize, quantize

    import activations
    import to_q4_0
except ImportError as missing:
    print(f"skipped: {missing}; see {SCRIPTS / 'requirements.txt'}")
    sys.exit(77)

HEADS, KV_HEADS, WIDTH, HIDDEN = 4, 2, 64, 96
SHAPES = {
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // 2, WIDTH),
    "attn_v": (WIDTH // 2, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_gate": (HIDDEN, WIDTH),
    "ffn_up": (HIDDEN, WIDTH),
    "ffn_down": (WIDTH, HIDDEN),
}
VOCABULARY = ["a", "b", "c", "ab"]


def write_model(path):
    random = np.random.default_rng(1)
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(VOCABULARY)
    writer.add_token_merges(["a b"])
    writer.add_tensor("token_embd.weight", random.standard_normal((len(VOCABULARY), WIDTH), dtype=np.float32))
    for norm in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{norm}.weight", random.uniform(0.5, 1.5, WIDTH).astype(np.float32))
    for name, shape in SHAPES.items():
        weight = quantize(random.standard_normal(shape, dtype=np.float32), GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"blk.0.{name}.weight", weight, raw_dtype=GGMLQuantizationType.Q4_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class ModelScripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = self.folder / "model.gguf"
        write_model(self.model)

    def run_script(self, script, *arguments):
        command = [sys.executable, "-B", SCRIPTS / script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def inputs(self, ids):
        model = activations.Model(self.model)
        return model, *activations.run_layer(model, 0, model.weight("token_embd.weight")[ids])

    def test_requantizes_the_linear_weights_and_nothing_else(self):
        target = self.folder / "q4_0.gguf"
        result = self.run_script("to_q4_0.py", self.model, target, "--raw", self.folder)
        self.assertEqual(result.returncode, 0, result.stderr)
        before = {tensor.name: tensor for tensor in GGUFReader(self.model).tensors}
        after = {tensor.name: tensor for tensor in GGUFReader(target).tensors}
        self.assertEqual(before.keys(), after.keys())
        for name, tensor in after.items():
            if name.split(".")[-2] not in SHAPES:
                self.assertEqual(tensor.tensor_type, GGMLQuantizationType.F32, name)
                np.testing.assert_array_equal(tensor.data, before[name].data)
                continue
            self.assertEqual(tensor.tensor_type, GGMLQuantizationType.Q4_0, name)
            self.assertEqual(tensor.data.tobytes(), (self.folder / f"{name}.q4_0").read_bytes())
            wanted = dequantize(before[name].data, GGMLQuantizationType.Q4_1).reshape(-1, 32)
            got = dequantize(tensor.data, GGMLQuantizationType.Q4_0).reshape(-1, 32)
            # Half a step of the largest magnitude over 8; a whole one at the end that Q4_0 has no code for.
            step = np.abs(wanted).max(axis=1, keepdims=True) / 8
            self.assertTrue((np.abs(got - wanted) <= 1.01 * step).all(), name)
            self.assertLess(np.abs(got - wanted).mean(), 0.3 * step.mean(), name)

    def test_keeps_only_what_is_asked_for(self):
        target = self.folder / "one.gguf"
        to_q4_0.convert(self.model, target, "blk.0.attn_k.*", with_tokenizer=False)
        reader = GGUFReader(target)
        self.assertEqual([tensor.name for tensor in reader.tensors], ["blk.0.attn_k.weight"])
        self.assertIsNone(reader.get_field("tokenizer.ggml.tokens"))
        self.assertEqual(reader.get_field("llama.block_count").contents(), 1)

    def test_writes_the_input_of_every_matrix(self):
        result = self.run_script("activations.py", self.model, self.folder, "--text", "abcab")
        self.assertEqual(result.returncode, 0, result.stderr)
        _, _, inputs = self.inputs([3, 2, 3])
        for name, (_, k) in SHAPES.items():
            written = np.fromfile(self.folder / f"blk.0.{name}.weight.f16", "<f2").reshape(-1, k)
            np.testing.assert_allclose(written, inputs[f"blk.0.{name}.weight"], rtol=1e-3, atol=1e-6)

    def test_first_token_attends_to_itself_alone(self):
        model, _, inputs = self.inputs([0, 1, 2])
        values = inputs["blk.0.attn_v.weight"] @ model.weight("blk.0.attn_v.weight").T
        wanted = np.repeat(values[0].reshape(KV_HEADS, -1), HEADS // KV_HEADS, axis=0).ravel()
        np.testing.assert_allclose(inputs["blk.0.attn_output.weight"][0], wanted, rtol=1e-5)

    def test_later_tokens_do_not_change_earlier_rows(self):
        _, short, _ = self.inputs([0, 1])
        _, long, _ = self.inputs([0, 1, 2, 3])
        np.testing.assert_allclose(long[:2], short, rtol=1e-5, atol=1e-6)

    def test_rotation_keeps_lengths_and_depends_on_distance_alone(self):
        x = np.random.default_rng(2).standard_normal((1, 1, 16)).repeat(9, axis=0)
        rotated = activations.rotate(x, 10000.0)[:, 0]
        np.testing.assert_allclose(np.linalg.norm(rotated, axis=1), np.linalg.norm(x[0, 0]))
        np.testing.assert_allclose(rotated[1] @ rotated[4], rotated[5] @ rotated[8])
        self.assertGreater(abs(rotated[1] @ rotated[4] - rotated[1] @ rotated[5]), 1e-6)

    def test_refuses_an_activation_past_fp16(self):
        with self.assertRaisesRegex(ValueError, "does not fit FP16"), contextlib.redirect_stdout(io.StringIO()):
            activations.write({"w": np.full((1, 32), 70000.0)}, self.folder)

    def test_says_in_one_line_what_is_wrong(self):
        text = self.folder / "text.gguf"
        text.write_text("not a model")
        out = self.folder / "out.gguf"
        for script, arguments, message in (
            ("to_q4_0.py", (text, out), "not a readable GGUF file"),
            ("to_q4_0.py", (self.model, out, "--only", "none"), "no 2-D weight has a name like 'none'"),
            ("to_q4_0.py", (self.model, self.model), "the same file"),
            ("activations.py", (text, self.folder, "--text", "a"), "not a readable GGUF file"),
            ("activations.py", (self.model, self.folder, "--text", ""), "gives no token"),
            ("activations.py", (self.model, self.folder, "--text", "a", "--layer", "1"), "has layers 0 to 0"),
            ("activations.py", (self.model, "--text", "a"), "nothing to do"),
        ):
            result = self.run_script(script, *arguments)
            self.assertEqual(result.returncode, 1, message)
            self.assertIn(message, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)


if __name__ == "__main__":
    unittest.main()
