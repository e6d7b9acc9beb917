"""colony bench: cells, lines and refusals, without peers and with one round. No number is held to anything here."""
import json
import math
import struct
import subprocess
import sys

import harness

ENGINE = ["pp512", "tg x1 int8", "tg x1 int4", "tg x4", "tg x16", "tg x32", "prefix x16", "ttft", "busy x16"]
UNITS = {"prefix x16": "s", "ttft": "ms", "busy x16": "share", "memory x16": "MiB",
         **{f"{what} {count}": "us" for what in ("decide", "deposit") for count in (10, 100, 1000, 10000)}}
LOWER = {"s", "ms", "us", "MiB"}


class Bench(harness.Case):
    def check_line(self, line, bench):
        self.assertEqual(line["bench"], bench)
        self.assertEqual(line["unit"], UNITS.get(line["cell"], "tok/s"))
        self.assertGreaterEqual(line["spread"], 0)
        if line["ours"] is None:
            self.assertTrue(line["ours_missing"])
            return
        self.assertGreater(line["ours"], 0)
        self.assertGreater(line["limit"], 0)
        ratio = line["limit"] / line["ours"] if line["unit"] in LOWER else line["ours"] / line["limit"]
        self.assertTrue(math.isclose(line["of_limit"], ratio, rel_tol=1e-6))
        self.assertEqual(line["better"], "lower" if line["unit"] in LOWER else "higher")
        self.assertNotIn("peer", line)

    def test_engine(self):
        lines = self.lines("bench", "engine", "--no-peers", "--rounds", 1, "--json")
        self.assertEqual([line["cell"] for line in lines], ENGINE)
        for line in lines:
            self.check_line(line, "engine")
            if line["unit"] == "tok/s" and line["ours"] is not None:
                self.assertGreater(line["ours_cpu"], 0)
                if line["of_limit"] < 0.6:
                    self.assertIn("products", line["in_the_way"])

    def test_memory_stays_below_ledger_and_64_mebibytes(self):
        line, = self.lines("bench", "memory", "--no-peers", "--rounds", 1, "--json")
        self.check_line(line, "memory")
        self.assertEqual(line["cell"], "memory x16")
        self.assertLessEqual(line["ours"], line["limit"], line)

    def test_train(self):
        lines = self.lines("bench", "train", "--no-peers", "--rounds", 1, "--json")
        self.assertEqual([line["cell"] for line in lines], ["lora r8", "lora r8 x256"])
        for line in lines:
            self.check_line(line, "train")
            self.assertGreater(line["peak_bytes"], 0)
        self.colony("bench", "train", "--no-peers", "--dtype", "int8", status=1)

    def test_swarm(self):
        lines = self.lines("bench", "swarm", "--rounds", 1, "--json")
        self.assertEqual([line["cell"] for line in lines], [f"{what} {count}" for count in (10, 100, 1000, 10000) for what in ("decide", "deposit")])
        for line in lines:
            self.check_line(line, "swarm")
            self.assertGreaterEqual(line["p95"], line["ours"])
        self.assertLessEqual(lines[-1]["bytes_per_agent"], 64 * 1024)
        line, = self.lines("bench", "swarm", "--rounds", 1, "--cells", "deposit 100", "--json")
        self.assertEqual(line["cell"], "deposit 100")

    def test_a_peer_that_cannot_be_had_is_named_with_the_reason(self):
        lines = self.lines("bench", "engine", "--rounds", 1, "--cells", "pp512", "--peers", "llama.cpp", "vllm", "--json", env={"PATH": "/nowhere"})
        self.assertEqual([line["peer_name"] for line in lines], ["llama.cpp Q8_0", "llama.cpp Q4_0", "vLLM bf16"])
        for line in lines:
            self.assertTrue(line["peer_missing"])
            self.check_line(line, "engine")
        out, _ = self.colony("bench", "engine", "--rounds", 1, "--cells", "pp512", "--peers", "vllm", env={"PATH": "/nowhere"})
        self.assertIn("vLLM bf16", out)
        self.assertIn("missing", out)

    def test_unknown_names_are_refused_with_the_known_ones(self):
        _, err = self.colony("bench", "nonsense", status=2)
        self.assertIn("engine", err)
        _, err = self.colony("bench", status=2)
        _, err = self.colony("bench", "memory", "--no-peers", "--cells", "nonsense", status=1)
        self.assertIn("memory x16", err)
        _, err = self.colony("bench", "engine", "--peers", "nonsense", status=1)
        self.assertIn("openvino", err)
        self.colony("bench", "engine", "--rounds", 0, status=2)

    def test_the_adapters_are_seeded_and_have_the_shapes_of_peft(self):
        def made(name):
            out = self.folder / name
            subprocess.run([sys.executable, harness.ROOT / "tools/make_bench_adapters.py", "peft", "--out", out, *map(str, (
                "--count", 2, "--rank", 8, "--layers", 2, "--hidden", 32, "--intermediate", 48, "--heads", 4, "--kv-heads", 2, "--head-dim", 8))],
                check=True)
            return out
        first, second = made("a"), made("b")
        raws = [(first / f"adapter-{i}/adapter_model.safetensors").read_bytes() for i in range(2)]
        self.assertEqual(raws[1], (second / "adapter-1/adapter_model.safetensors").read_bytes())
        self.assertNotEqual(raws[0], raws[1])
        size, = struct.unpack("<Q", raws[0][:8])
        header = json.loads(raws[0][8:8 + size])
        self.assertEqual(len(header), 2 * 7 * 2)
        name = "base_model.model.model.layers.1.self_attn.k_proj.lora_"
        self.assertEqual(header[name + "A.weight"]["shape"], [8, 32])
        self.assertEqual(header[name + "B.weight"]["shape"], [16, 8])
        self.assertEqual(json.loads((first / "adapter-0/adapter_config.json").read_text())["r"], 8)


if __name__ == "__main__":
    harness.main()
