"""Training as users see it: a tiny model learns, its adapter loads here and in PEFT, a killed run resumes to the same bits."""
import array
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

import harness

LETTERS = "abcdefghijklmnopqrstuvwxyz.:\n"


def make_model(folder):
    """The golden checkpoint of 96 tokens with a tokenizer of letters and a chat template."""
    shutil.copytree(harness.ROOT / "tests/goldens/checkpoints/llama_default", folder)
    for name in ("expected.f32", "expected.json"):
        (folder / name).unlink()
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "Ġ": 3}
    for letter in LETTERS:
        vocab["Ċ" if letter == "\n" else letter] = len(vocab)
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for t, i in vocab.items() if t.startswith("<")]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": "</s>", "bos_token": "<s>",
        "chat_template": "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + eos_token }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}"}))


ANSWERS = {"red": "warm", "orange": "warm", "yellow": "warm", "blue": "cold", "green": "cold", "violet": "cold"}


def rows(count=60):
    colours = list(ANSWERS)
    return [{"prompt": f"is {colours[i % 6]} {'abcdefghij'[i // 6 % 10]} warm", "answer": ANSWERS[colours[i % 6]], "kind": "x"} for i in range(count)]


class Train(harness.Case):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        make_model(self.model)
        self.data = self.write("data.jsonl", rows())

    def words(self, out, *more):
        usual = {"--steps": 60, "--lr": 0.02, "--batch": 12}
        return ["train", self.data, "--model", self.model, "--out", out, "--json", *more, *(w for name, value in usual.items() if name not in more for w in (name, value))]

    def train(self, out, *more, status=0):
        return self.lines(*self.words(out, *more), status=status)

    def test_learns_and_the_adapter_serves(self):
        out = self.folder / "a"
        lines = self.train(out)
        updates = [l for l in lines if "loss" in l and "lr" in l]
        self.assertEqual([l["step"] for l in updates], list(range(1, 61)))
        self.assertEqual(updates[0]["lr"], 0)
        self.assertGreater(updates[0]["loss"], 3)
        last = lines[-1]
        for key in ("steps", "loss", "valid_loss", "tokens", "seconds", "peak_bytes", "out"):
            self.assertIn(key, last)
        self.assertLess(last["loss"], 0.5)
        self.assertLess(last["valid_loss"], 0.7)
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["README.md", "adapter_config.json", "adapter_model.safetensors", "loss.svg", "metrics.jsonl"])
        self.assertEqual([json.loads(l) for l in (out / "metrics.jsonl").read_text().splitlines()], lines[:-1])
        self.assertIn("<svg", (out / "loss.svg").read_text())
        # Validation examples are answered at each evaluation, and in the end rightly.
        judged = [l for l in lines if "valid_loss" in l and "out" not in l]
        self.assertEqual(len(judged), 10)
        self.assertTrue(all(l["answered"] > 2 for l in judged))
        self.assertLess(judged[0]["exact_match"], 0.5)
        self.assertGreater(judged[-1]["exact_match"], 0.7)
        self.assertEqual(last["exact_match"], [l for l in judged if l["step"] == last["best_step"]][0]["exact_match"])
        self.assertRegex((out / "README.md").read_text(), r"exact match by generation \| [01]\.\d\d of \d+ validation examples")
        off = self.train(self.folder / "off", "--valid-answers", 0)
        self.assertFalse(any("exact_match" in l and "out" not in l for l in off))
        self.assertIsNone(off[-1]["exact_match"])
        self.assertEqual((self.folder / "off/adapter_model.safetensors").read_bytes(), (out / "adapter_model.safetensors").read_bytes())
        self.assertIn("SHA-256", (out / "README.md").read_text())
        test = self.write("t.jsonl", rows(12))
        def success(*more):
            return self.lines("eval", test, "--model", self.model, "--dtype", "f32", "--json", "--max-tokens", 8, *more)[0]["success"]
        self.assertEqual(success(), 0)
        self.assertGreater(success("--adapter", out), 0.9)
        # A folder that holds an adapter is not written over.
        _, err = self.colony(*self.words(out), status=1)
        self.assertIn("holds an adapter already", err)

    def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(self):
        def adapter(name, *more):
            self.train(self.folder / name, "--steps", 12, *more)
            return hashlib.sha256((self.folder / name / "adapter_model.safetensors").read_bytes()).hexdigest()
        one = adapter("a", "--threads", 1)
        self.assertEqual(one, adapter("b", "--threads", 2))
        self.assertEqual(one, adapter("c", "--threads", 2, "--recompute"))
        self.assertNotEqual(one, adapter("d", "--seed", 7))
        dropped = adapter("e", "--dropout", 0.2, "--threads", 1)
        self.assertNotEqual(one, dropped)
        self.assertEqual(dropped, adapter("f", "--dropout", 0.2, "--threads", 2))
        for more in (["--dora"], ["--rslora", "--targets", "q_proj,down_proj", "--rank-pattern", "q_proj=3"], ["--dtype", "f32"], ["--loss-on", "all"]):
            self.assertNotEqual(one, adapter("x" + "".join(map(str, more)).replace("/", ""), *more))

        # Micro-batches are a matter of words: an update's examples are computed as fits.
        self.assertEqual(one, adapter("g", "--grad-accum", 2, "--batch", 6))

    def until(self, process, step):
        for line in process.stdout:
            if json.loads(line).get("step", 0) >= step:
                return
        self.fail("ended before it was killed")

    def start(self, out, *more):
        return subprocess.Popen([harness.COLONY, *map(str, self.words(out, *more))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=harness.ROOT,
                                env={**os.environ, "COLONY_HOME": str(self.home)})

    def test_killed_it_resumes_to_the_same_bits(self):
        more = ["--save-every", 1, "--dropout", 0.1, "--steps", 300]
        self.train(self.folder / "whole", *more)
        out = self.folder / "killed"
        for step in (7, 90, 220):
            process = self.start(out, *more, *(["--resume"] if step > 7 else []))
            self.until(process, step)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL)
            self.assertFalse((out / "adapter_config.json").exists())
        _, err = self.colony(*self.words(out, *more), status=1)
        self.assertIn("--resume", err)
        _, err = self.colony(*self.words(out, *more, "--resume", "--lr", 0.3), status=1)
        self.assertIn("lr = 0.02", err)
        self.train(out, *more, "--resume")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            self.assertTrue((out / name).read_bytes() == (self.folder / "whole" / name).read_bytes(), name)
        def losses(folder):
            return [(l["step"], l.get("loss"), l.get("valid_loss")) for l in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())]
        self.assertEqual(losses(out), losses(self.folder / "whole"))

    def test_interrupted_it_says_130_and_resumes(self):
        out = self.folder / "a"
        process = self.start(out, "--steps", 3000)
        self.until(process, 5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("--resume", err)
        self.assertTrue((out / "checkpoint.safetensors").exists())
        _, err = self.colony(*self.words(out, "--resume", "--steps", 2999), status=1)
        self.assertIn("steps", err)

    def test_agent(self):
        agents = self.folder / "agents"
        words = ["train", self.data, "--model", self.model, "--agents", agents, "--agent", "warmth", "--json", "--steps", 40, "--lr", 0.02, "--batch", 12]
        self.lines(*words)
        shown = self.lines("agents", "show", "warmth", "--agents", agents, "--json")
        self.assertEqual(len(shown), 1)
        score = self.lines("eval", self.write("t.jsonl", rows(12)), "--model", self.model, "--agents", agents, "--agent", "warmth", "--dtype", "f32", "--json", "--max-tokens", 8)
        self.assertGreater(score[0]["success"], 0.5)

    def test_raw_messages_and_completions(self):
        mixed = [{"messages": [{"role": "user", "content": "is red warm"}, {"role": "assistant", "content": "warm"},
                               {"role": "user", "content": "is blue warm"}, {"role": "assistant", "content": "cold"}]},
                 {"prompt": "is green warm", "completion": "cold"},
                 {"prompt": [{"role": "user", "content": "is yellow warm"}], "completion": [{"role": "assistant", "content": "warm"}]}]
        path = self.write("mixed.jsonl", mixed)
        common = ["--model", self.model, "--json", "--steps", 3, "--valid-share", 0]
        lines = self.lines("train", path, "--out", self.folder / "m", *common)
        # Rendered, with the answers' ends but not what stands behind the last: two turns and two single ones.
        texts = ["u:is red warm|a:warm|u:is blue warm|a:cold|", "u:is green warm|a:cold|", "u:is yellow warm|a:warm|"]
        self.assertEqual(lines[0]["tokens"], sum(map(len, texts)))
        table = self.write("t.csv", ["answer,note,prompt", "warm,,is red warm", '"co""ld",x,"is blue, warm"'])
        lines = self.lines("train", table, "--out", self.folder / "t", *common)
        self.assertEqual(lines[0]["tokens"], len("u:is red warm|a:warm|") + len("u:is blue warm|a:cold|"))  # the tokenizer has no comma and no quote
        raw = self.write("raw.jsonl", [{"prompt": "is red warm", "completion": "yes"}, {"text": "a text."}])
        lines = self.lines("train", raw, "--out", self.folder / "r", "--raw", *common)
        self.assertEqual(lines[0]["tokens"], len("is red warmyes|") + len("a text.|"))
        self.colony("train", raw, "--out", self.folder / "s", *common, status=1)
        plain = self.write("plain.txt", ["a text.", "", "one more"])
        lines = self.lines("train", plain, "--out", self.folder / "p", "--raw", *common)
        self.assertEqual(lines[0]["tokens"], len("a text.|") + len("one more|"))
        _, err = self.colony("train", plain, "--out", self.folder / "q", *common, status=1)
        self.assertIn("--raw", err)

    def test_goes_on_from_an_adapter(self):
        first, second = self.folder / "first", self.folder / "second"
        learnt = self.train(first, "--steps", 40, "--rslora", "--rank", 4, "--targets", "q_proj,down_proj")
        begun = {p.name: p.read_bytes() for p in first.iterdir()}
        went_on = self.train(second, "--steps", 20, "--warmup", 0, "--from", first)
        # It begins where the other ended, with that one's rank, targets and scale, and leaves it alone.
        self.assertLess(went_on[0]["loss"], learnt[0]["loss"] / 2)
        self.assertEqual(begun, {p.name: p.read_bytes() for p in first.iterdir()})
        configs = [json.loads((f / "adapter_config.json").read_text()) for f in (first, second)]
        self.assertEqual(configs[0], configs[1])
        self.assertIn("begun from", (second / "README.md").read_text())
        self.colony(*self.words(self.folder / "x", "--from", first, "--rank", 8), status=2)
        # Killed and resumed it is the same; begun from another adapter it is refused.
        third = self.folder / "third"
        process = self.start(third, "--steps", 20, "--warmup", 0, "--from", first, "--save-every", 1)
        self.until(process, 5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _, err = self.colony(*self.words(third, "--steps", 20, "--warmup", 0, "--from", second, "--save-every", 1, "--resume"), status=1)
        self.assertIn("from", err)
        self.train(third, "--steps", 20, "--warmup", 0, "--from", first, "--save-every", 1, "--resume")
        self.assertEqual((third / "adapter_model.safetensors").read_bytes(), (second / "adapter_model.safetensors").read_bytes())
        # Adapters of other bases: by the hash in the file, or by the shapes.
        other = self.folder / "other"
        make_model(other)
        (other / "config.json").write_text((other / "config.json").read_text() + "\n")
        _, err = self.colony(*(other if w == self.model else w for w in self.words(self.folder / "x", "--from", first)), status=1)
        self.assertIn("another base", err)
        peft = harness.ROOT / "tests/goldens/peft"
        _, err = self.colony(*self.words(self.folder / "x", "--from", peft / "dora"), status=1)
        self.assertIn("another base", err)
        for name, says in {"embed": "cannot be trained", "modules_to_save": "modules_to_save", "lora_bias": "lora_bias"}.items():
            _, err = self.colony(*self.words(self.folder / "x", "--from", peft / name), status=1)
            self.assertIn(says, err)
        _, err = self.colony(*self.words(self.folder / "x", "--from", self.folder), status=1)
        self.assertIn("is no adapter", err)
        # What PEFT wrote.
        self.train(self.folder / "y", "--steps", 2, "--from", peft / "plain")
        self.assertFalse((self.folder / "x").exists())

    def test_bad_input_is_named_and_leaves_nothing(self):
        out = self.folder / "a"
        def fails(data, *more, status=1):
            steps = [] if "--steps" in more else ["--steps", 2]
            _, err = self.colony("train", data, "--model", self.model, "--out", out, *steps, *more, status=status)
            self.assertEqual((out / "adapter_config.json").exists(), "d.csv" in str(data))
            return err
        self.assertIn("no line", fails(self.write("empty.jsonl", [])))
        self.assertIn("bad.jsonl:1:", fails(self.write("bad.jsonl", ["{"])))
        self.assertIn("\"answer\"", fails(self.write("bad.jsonl", [{"prompt": "a"}])))
        self.assertIn("\"prompt\"", fails(self.write("bad.jsonl", [{"question": "a", "answer": "b"}])))
        self.assertIn("no assistant", fails(self.write("bad.jsonl", [{"messages": [{"role": "user", "content": "a"}]}])))
        self.assertIn("end-of-turn", fails(self.write("bad.jsonl", [{"prompt": "a", "answer": "b</s>c"}])))
        self.assertIn("--max-length", fails(self.write("long.jsonl", [{"prompt": "a" * 80, "answer": "b"}])))
        self.assertIn("both files", fails(self.data, "--valid", self.write("v.jsonl", rows(3))))
        self.assertIn("not supported", fails(self.write("d.tsv", ["prompt\tanswer"])))
        self.assertIn("d.csv:3:", fails(self.write("d.csv", ["prompt,answer", "a,b", "a"])))
        shutil.rmtree(out, ignore_errors=True)
        self.assertIn("target_modules", fails(self.data, "--targets", "nowhere"))
        self.assertIn("cannot be trained", fails(self.data, "--targets", "lm_head"))
        self.assertIn("loss", fails(self.data, "--lr", 10, "--warmup", 0, "--clip", 0, "--steps", 200, "--weight-decay", 1))
        shutil.rmtree(out, ignore_errors=True)
        self.assertIn("raise --memory", fails(self.data, "--memory", "200KiB"))
        fails(self.folder / "absent.jsonl")
        fails(self.data, "--resume")
        fails(self.data, "--epochs", 2, status=2)  # beside --steps
        _, err = self.colony("train", self.data, status=2)
        self.assertIn("--out", err)
        # A little memory: fewer rows at once, then activations twice.
        _, err = self.colony("train", self.data, "--model", self.model, "--out", self.folder / "little", "--steps", 2, "--memory", "700KiB")
        self.assertIn("rows at once", err)
        # Some bad lines: the rest is learnt, and the status says so.
        self.colony("train", self.write("some.jsonl", [*rows(20), {"prompt": 3}]), "--model", self.model, "--out", self.folder / "some", "--steps", 2, status=1)
        self.assertTrue((self.folder / "some/adapter_config.json").exists())

    def test_too_long_by_policy(self):
        data = self.write("long.jsonl", [*rows(20), {"prompt": "b" * 50, "answer": "c" * 30}, {"prompt": "a" * 80, "answer": "b"}])
        common = ["train", data, "--model", self.model, "--steps", 2]
        _, err = self.colony(*common, "--out", self.folder / "a", "--too-long", "drop")
        self.assertIn("2 examples left out", err)
        _, err = self.colony(*common, "--out", self.folder / "b", "--too-long", "cut")
        self.assertIn("1 examples left out", err)
        self.assertIn("1 examples cut to 64", err)

    def test_parquet_gives_what_json_lines_give(self):
        arrow = harness.ROOT / "build/arrow"
        bad = self.folder / "bad.parquet"
        bad.write_bytes(b"PAR1" + bytes(200) + b"PAR1")
        _, err = self.colony("train", bad, "--model", self.model, "--out", self.folder / "bad", status=1)
        self.assertFalse((self.folder / "bad").exists())
        if not (pathlib.Path(harness.COLONY).parent / "colony-parquet").exists():
            self.assertIn("tools/install_arrow.sh", err)
            self.skipTest("colony-parquet is not built here")
        self.assertIn("bad.parquet: cannot be read as Parquet", err)
        write = """
import json, sys
import pyarrow as pa, pyarrow.parquet as pq
rows = [json.loads(line) for line in open(sys.argv[1])]
columns = {name: [row.get(name) for row in rows] for name in rows[0]}
if sys.argv[3] == "dictionary":
    columns = {name: pa.array(values).dictionary_encode() for name, values in columns.items()}
columns["embedding"] = [b"\\xff\\x00"] * len(rows)
pq.write_table(pa.table(columns), sys.argv[2], compression=sys.argv[4], row_group_size=13)
"""
        def adapter(data, name):
            self.lines("train", data, "--model", self.model, "--out", self.folder / name, "--json", "--steps", 3, "--lr", 0.02)
            return (self.folder / name / "adapter_model.safetensors").read_bytes()
        def parquet(lines, name, kind, compression):
            out = self.folder / name
            subprocess.run(["python3", "-c", write, str(lines), str(out), kind, compression], check=True, env={**os.environ, "PYTHONPATH": str(arrow)})
            return out
        flat = adapter(self.data, "flat")
        for i, (kind, compression) in enumerate([("plain", "snappy"), ("dictionary", "zstd"), ("plain", "none")]):
            self.assertEqual(flat, adapter(parquet(self.data, f"{i}.parquet", kind, compression), f"p{i}"), (kind, compression))
        chats = self.write("chats.jsonl", [{"messages": [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["answer"]}]} for r in rows(40)])
        nested = parquet(chats, "chats.parquet", "plain", "zstd")
        self.assertEqual(adapter(chats, "chats"), adapter(nested, "nested"))
        # Every byte may be damaged: an error or examples, and never a crash.
        whole = nested.read_bytes()
        for at in range(0, len(whole), max(1, len(whole) // 40)):
            bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0xff]) + whole[at + 1:])
            done = subprocess.run([pathlib.Path(harness.COLONY).parent / "colony-parquet", bad, "messages"], capture_output=True)
            self.assertIn(done.returncode, (0, 1), (at, done.stderr))
        other = parquet(self.write("other.jsonl", [{"question": "a"}]), "other.parquet", "plain", "none")
        _, err = self.colony("train", other, "--model", self.model, "--out", self.folder / "x", status=1)
        self.assertIn("none of the columns that are read; it has: question, embedding", err)

    def test_peft_loads_it_and_gives_our_logits(self):
        try:
            import peft
            import torch
            from transformers import LlamaForCausalLM
        except ImportError as problem:
            self.skipTest(f"PEFT is not at hand ({problem}); the committed runs of PEFT are compared in GoldenTrain")
        ids = [1, 5, 9, 14, 3, 20, 7]
        for name, more in {"plain": [], "rslora": ["--rslora", "--targets", "q_proj,up_proj", "--rank-pattern", "q_proj=3", "--alpha-pattern", "up_proj=5"], "dora": ["--dora"]}.items():
            out = self.folder / name
            self.train(out, "--dtype", "f32", "--steps", 20, *more)
            raw = self.folder / "l.f32"
            self.lines("logits", self.write("i.jsonl", [{"ids": ids, "adapter": str(out)}]), "--model", self.model, "--dtype", "f32", "--out", raw, "--json")
            ours = torch.frombuffer(array.array("f", raw.read_bytes()), dtype=torch.float32).view(len(ids), -1)
            base = LlamaForCausalLM.from_pretrained(self.model, dtype=torch.float32, attn_implementation="eager")
            plain = base(torch.tensor([ids])).logits[0].detach()
            theirs = peft.PeftModel.from_pretrained(base, out).eval()(torch.tensor([ids])).logits[0].detach()
            self.assertGreater((theirs - plain).abs().max(), 0.1)
            self.assertLess((ours - theirs).abs().max() / theirs.std(), 1e-4, name)


if __name__ == "__main__":
    unittest.main(argv=[harness.sys.argv[0], *harness.sys.argv[2:]], verbosity=1)
