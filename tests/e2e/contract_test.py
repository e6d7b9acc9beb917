"""Every verb, its lines and its exit statuses, as the machine-readable contract has them."""
import array
import json
import math

import harness


class Contract(harness.Case):
    def test_without_a_verb_it_prints_the_verbs(self):
        out, _ = self.colony()
        for verb in "run runs why generate score logits tokenize render eval train chat ls show pull agents doctor bench".split():
            self.assertIn(verb, out)

    def test_wrong_usage_is_2(self):
        for words in (["nonsense"], ["run"], ["run", "a", "--resume", "b"], ["generate"], ["run", "x", "--nodes", "0"],
                      ["generate", "-", "--dtype", "f7"], ["generate", "-", "--top-p", "2"], ["generate", "-", "--nonsense"]):
            _, err = self.colony(*words, status=2)
            self.assertIn("--help", err)

    def test_help_has_an_example(self):
        for verb in "run runs why generate score logits tokenize render eval train chat ls show pull doctor bench".split():
            out, _ = self.colony(verb, "--help")
            self.assertIn("Example:", out)

    def test_generate(self):
        rows = [{"prompt": "The capital of France is"}, {"messages": [{"role": "user", "content": "Say hello."}]}, {"ids": [504, 3575, 282]}]
        out = self.lines("generate", self.write("g.jsonl", rows), "--json", "--max-tokens", 5)
        self.assertEqual([o["index"] for o in out], [0, 1, 2])
        for o in out:
            self.assertIn(o["finish"], ("stop", "length"))
            self.assertTrue(o["prompt_ids"] and o["ids"])
            self.assertLessEqual(len(o["ids"]), 5)
        self.assertEqual(out[2]["prompt_ids"], [504, 3575, 282])
        self.assertIn("Paris", out[0]["text"])
        self.assertEqual(out, self.lines("generate", self.write("g.jsonl", rows), "--json", "--max-tokens", 5, "--batch", 1, "--threads", 1))

    def test_generate_options(self):
        one = self.write("g.jsonl", [{"prompt": "Once upon a time"}])
        def ids(*words):
            return self.lines("generate", one, "--json", "--max-tokens", 12, *words)[0]["ids"]
        greedy = ids()
        self.assertEqual(greedy, ids("--greedy", "--seed", 5))
        self.assertEqual(greedy, ids("--temperature", 0))
        warm = ids("--temperature", 1.5, "--seed", 1)
        self.assertEqual(warm, ids("--temperature", 1.5, "--seed", 1))
        self.assertNotEqual(warm, ids("--temperature", 1.5, "--seed", 2))
        self.assertEqual(greedy, ids("--temperature", 1.5, "--top-k", 1))
        self.assertEqual(len(ids("--ignore-eos")), 12)
        text = self.lines("generate", one, "--json", "--max-tokens", 40)[0]["text"]
        word = text.split()[3]
        cut = self.lines("generate", one, "--json", "--max-tokens", 40, "--stop", word)[0]
        self.assertEqual(cut["text"], text[: text.index(word)])
        self.assertEqual(cut["finish"], "stop")
        logprobs = self.lines("generate", one, "--json", "--max-tokens", 3, "--logprobs", 2)[0]["logprobs"]
        self.assertEqual(len(logprobs), 3)
        for entry in logprobs:
            self.assertEqual(entry["id"], entry["top"][0]["id"])
            self.assertLess(entry["logprob"], 0)
            self.assertEqual(entry["token"], entry["top"][0]["token"])
        self.assertTrue(text.startswith("".join(entry["token"] for entry in logprobs)))

    def test_bad_lines_are_told_with_file_line_and_field_and_the_rest_runs(self):
        path = self.write("bad.jsonl", ["{", {"prompt": 3}, {"prompt": "a", "messages": []}, {"ids": []}, {"ids": [10**9]}, {}, "[1]", {"prompt": "Hi"}])
        out, err = self.colony("generate", path, "--json", "--max-tokens", 2, status=1)
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([r["finish"] for r in rows], ["error"] * 7 + ["length"])
        for line in range(1, 8):
            self.assertIn(f"bad.jsonl:{line}:", err)
        self.assertIn("\"prompt\"", err)
        self.colony("generate", self.folder / "absent.jsonl", status=1)
        self.colony("generate", self.write("empty.jsonl", []), status=1)
        self.colony("generate", path, "--model", self.folder / "nowhere", status=1)
        self.colony("generate", path, "--model", "no/such-model", status=1)

    def test_tokenize_and_render(self):
        out = self.lines("tokenize", self.write("t.jsonl", [{"text": "Hello world 42"}, {"text": "<|im_start|>é😀"}, {"text": ""}]), "--json")
        self.assertEqual(out[0]["decoded"], "Hello world 42")
        self.assertEqual(out[0]["tokens"][:2], ["Hello", "Ġworld"])
        self.assertEqual(len(out[0]["ids"]), len(out[0]["tokens"]))
        self.assertEqual(out[1]["tokens"][0], "<|im_start|>")
        self.assertEqual(out[1]["decoded"], "<|im_start|>é😀")
        self.assertEqual(out[2]["ids"], [])
        out = self.lines("render", "-", "--json", status=1,
                         stdin='{"messages":[{"role":"user","content":"Hi"}],"add_generation_prompt":true}\n{"messages":"no"}\n')
        self.assertTrue(out[0]["text"].endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"))
        self.assertIn("error", out[1])

    def test_logits_and_score_agree(self):
        ids = self.lines("tokenize", "-", "--json", stdin='{"text":"The capital of France is Paris"}\n')[0]["ids"]
        raw = self.folder / "x.f32"
        out = self.lines("logits", "-", "--out", raw, "--json", "--dtype", "f32", stdin=json.dumps({"ids": ids}) + "\n" + json.dumps({"ids": ids[:2]}) + "\n")
        vocab = out[0]["shape"][1]
        self.assertEqual([o["shape"] for o in out], [[len(ids), vocab], [2, vocab]])
        values = array.array("f")
        values.frombytes(raw.read_bytes())
        self.assertEqual(len(values), (len(ids) + 2) * vocab)
        rows = [values[i * vocab:(i + 1) * vocab] for i in range(len(ids) + 2)]
        self.assertEqual(list(rows[0]), list(rows[len(ids)]))  # the second input's first position: the same
        logprob = 0.0
        top = max(rows[len(ids) - 2])
        logprob = rows[len(ids) - 2][ids[-1]] - top - math.log(sum(math.exp(v - top) for v in rows[len(ids) - 2]))
        score = self.lines("score", "-", "--json", "--dtype", "f32", stdin='{"prompt":"The capital of France is","completion":" Paris"}\n')[0]
        self.assertEqual(score["tokens"], 1)
        self.assertAlmostEqual(score["logprob"], logprob, places=4)

    def test_golden_checkpoints(self):
        # Folders without a tokenizer, by ids alone: f32 logits of every position, and 24 greedy tokens.
        folders = [f for f in sorted((harness.ROOT / "tests/goldens/checkpoints").glob("llama_*")) if (f / "expected.json").exists()]
        self.assertGreaterEqual(len(folders), 7)
        for folder in folders:
            expected = json.loads((folder / "expected.json").read_text())
            raw = self.folder / "x.f32"
            shown = self.lines("logits", self.write("ids.jsonl", [{"ids": row} for row in expected["input_ids"]]), "--out", raw, "--json", "--dtype", "f32", "--model", folder)
            self.assertEqual([s["shape"] for s in shown], [expected["shape"][1:]] * expected["shape"][0])
            got, want = array.array("f", raw.read_bytes()), array.array("f", (folder / "expected.f32").read_bytes())
            middle = sum(want) / len(want)
            spread = sum((w - middle) ** 2 for w in want)
            self.assertLess(sum((g - w) ** 2 for g, w in zip(got, want, strict=True)) / spread, 1e-10, folder)
            one = self.write("ids.jsonl", [{"ids": expected["greedy_from_first12"][:12]}])
            room = min(36, self.lines("show", folder, "--json")[0]["context"])
            out = self.lines("generate", one, "--json", "--ignore-eos", "--max-tokens", 24, "--dtype", "f32", "--model", folder)[0]
            self.assertEqual(out["prompt_ids"] + out["ids"], expected["greedy_from_first12"][:room], folder)
            self.assertEqual(out["finish"], "length")

    def test_eval(self):
        tasks = [{"id": i, "kind": k, "prompt": p, "answer": a, "check": c} for i, (k, p, a, c) in enumerate(
            [("geo", "What is the capital of France?", "Paris", "regex:Paris"), ("geo", "Say nothing.", "xyzzy", "exact"), ("sum", "What is 1+1?", "2", "numeric")])]
        # f32: at int8 the first answer is a near tie (the f32 margin is 0.08 nats) and begins another way.
        out = self.lines("eval", self.write("e.jsonl", tasks), "--json", "--max-tokens", 20, "--dtype", "f32")
        self.assertEqual([o["kind"] for o in out], ["geo", "sum"])
        self.assertEqual(out[0]["tasks"], 2)
        self.assertEqual(out[0]["success"], 0.5)
        self.assertLess(out[0]["ci95"][0], 0.5)
        self.assertGreater(out[0]["completion_tokens"], 0)

    def test_agents_are_tested_and_begin_with_it(self):
        agents = self.folder / "agents"
        for name, script in (("counts", "return {answer = tostring(#task.prompt)}"), ("shouts", "return {answer = task.prompt:upper()}"), ("mute", "return {answer = ''}")):
            (agents / name).mkdir(parents=True)
            (agents / name / "agent.toml").write_text(f'name = "{name}"\ndescription = "d"\n')
            (agents / name / "script.lua").write_text(f"function before(task) {script} end\n")

        def tasks(first, count):
            rows = []
            for i in range(first, first + count):
                long, loud = "count " + "ab" * (i % 17 + 1) + str(i), f"say number {i} loudly"
                rows += [{"id": f"c{i}", "kind": "count", "prompt": long, "answer": str(len(long)), "check": "exact"},
                         {"id": f"s{i}", "kind": "shout", "prompt": loud, "answer": loud.upper(), "check": "exact"}]
            return rows

        held_out, stream = self.write("held.jsonl", tasks(1000, 20)), self.write("stream.jsonl", tasks(0, 15))
        common = ["--agents", agents, "--home", self.home]

        def right(home, *more):
            out = self.folder / "out.jsonl"
            self.colony("run", stream, "--agents", agents, "--home", home, "--out", out, *more)
            rows = [json.loads(line) for line in out.read_text().splitlines()]
            out.unlink()
            self.assertEqual(len(rows), 30)
            return sum(row["success"] for row in rows)

        untested = right(self.folder / "home of the untested")
        one = self.lines("eval", held_out, *common, "--agent", "counts", "--json")
        self.assertEqual([(line["kind"], line["success"]) for line in one], [("count", 1), ("shout", 0)])
        self.assertFalse((agents / "counts/tested.json").exists())
        # The gate keeps who is no better out: status 1, and nothing is kept.
        out, _ = self.colony("eval", held_out, *common, "--agent", "mute", "--against", "counts", "--keep", status=1)
        self.assertIn("does not pass: better on 0, worse on 20 of 40", out)
        self.assertFalse((agents / "mute/tested.json").exists())
        gate = self.lines("eval", held_out, *common, "--each", "--against", "mute", "--keep", "--json")
        judged = {line["agent"]: line for line in gate if "passes" in line}
        self.assertEqual(sorted(judged), ["counts", "shouts"])
        self.assertEqual(judged["counts"], {"agent": "counts", "against": "mute", "items": 40, "better": 20, "worse": 0, "difference": .5, "passes": True, "p": 2 ** -20})
        for name in ("counts", "mute", "shouts"):
            kept = json.loads((agents / name / "tested.json").read_text())
            self.assertEqual((kept["tasks"], len(kept["items"])), (40, 40))
            self.assertNotIn("say number", json.dumps(kept))  # no text of a task
        # From the first task on the right one is asked.
        tested = right(self.folder / "home of the tested")
        self.assertGreaterEqual(tested, 24)
        self.assertGreater(tested, untested)
        self.assertEqual(right(self.folder / "home of the others", "--no-tested"), untested)
        for words in (("--each", "--agent", "counts"), ("--keep",), ("--against", "mute"), ("--agent", "mute", "--against", "mute")):
            self.colony("eval", held_out, *common, *words, status=2)
        self.colony("eval", held_out, *common, "--agent", "counts", "--against", "nobody", status=None)

    def test_adapters_of_a_mixed_batch_give_pefts_logits(self):
        goldens = harness.ROOT / "tests/goldens"
        base = goldens / "checkpoints/llama_default"
        ids = json.loads((base / "expected.json").read_text())["input_ids"]
        names = ["plain", "all_linear_rslora", "modules_to_save", "embed", "lora_bias", "head"]
        rows = [{"ids": one, **({"adapter": str(goldens / "peft" / name)} if name else {})} for name in [None, *names] for one in ids]
        raw = self.folder / "x.f32"
        shapes = self.lines("logits", self.write("a.jsonl", rows), "--out", raw, "--json", "--dtype", "f32", "--model", base)
        self.assertEqual(len(shapes), len(rows))
        got = array.array("f")
        got.frombytes(raw.read_bytes())
        want = array.array("f")
        for folder in [base, *(goldens / "peft" / name for name in names)]:
            want.frombytes((folder / "expected.f32").read_bytes())
        self.assertEqual(len(got), len(want))
        self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 2e-3)
        # --adapter is every line's that names none.
        plain = ["--json", "--dtype", "f32", "--model", base, "--max-tokens", 6]
        alone = self.lines("generate", self.write("b.jsonl", [{"ids": ids[0]}]), *plain, "--adapter", goldens / "peft/plain")
        named = self.lines("generate", self.write("b.jsonl", [{"ids": ids[0], "adapter": str(goldens / "peft/plain")}, {"ids": ids[0]}]), *plain)
        self.assertEqual(alone[0]["ids"], named[0]["ids"])
        self.assertNotEqual(named[0]["ids"], named[1]["ids"])
        # What is no adapter, or another base's, ends its line alone.
        out, err = self.colony("generate", self.write("c.jsonl", [{"ids": ids[0], "adapter": "nowhere"}, {"ids": ids[0], "adapter": str(goldens / "peft/dora")},
                                                                  {"ids": ids[0], "adapter": 7}, {"ids": ids[0]}]), *plain, status=1)
        self.assertEqual([json.loads(line)["finish"] for line in out.splitlines()], ["error"] * 3 + ["length"])
        self.assertIn("another base", err)
        self.colony("generate", self.write("d.jsonl", [{"ids": ids[0]}]), *plain, "--adapter", self.folder, status=1)

    def test_models_agents_doctor(self):
        models = self.lines("ls", "--json")
        self.assertIn("colony/SmolLM2-135M-Instruct-GGUF", [m["model"] for m in models])
        shown = self.lines("show", "--json")[0]
        self.assertEqual((shown["layers"], shown["vocab_size"]), (30, 49152))
        self.assertTrue(all(row["ok"] for row in self.lines("agents", "check", "--json")))
        self.assertIn("generalist", [a["agent"] for a in self.lines("agents", "ls", "--json")])
        self.colony("agents", "show", "generalist")
        _, err = self.colony("agents", "show", "generalits", status=1)
        self.assertIn("did you mean generalist", err)
        self.colony("agents", "new", "mine", "--agents", self.folder / "agents")
        self.colony("agents", "new", "mine", "--agents", self.folder / "agents", status=1)
        self.colony("agents", "new", "../mine", "--agents", self.folder / "agents", status=1)
        self.colony("agents", "check", "--agents", self.folder / "agents")
        (self.folder / "agents/mine/agent.toml").write_text('nam = "mine"\n')
        out, _ = self.colony("agents", "check", "--agents", self.folder / "agents", status=1)
        self.assertIn("name", out)
        states = {row["what"]: row["state"] for row in self.lines("doctor", "--json", status=None)}
        self.assertEqual(states["instructions"], "ok")
        self.assertEqual(states["model"], "ok")
        rows = {row["what"]: row["detail"] for row in self.lines("doctor", "--json", status=None, env={"COLONY_CACHE": str(self.folder / "kept")})}
        self.assertIn(str(self.folder / "kept"), rows["kept weights"])
        rows = {row["what"]: row["detail"] for row in self.lines("doctor", "--json", status=None, env={"COLONY_CACHE": "off"})}
        self.assertIn("none", rows["kept weights"])

    def test_chat_answers_each_line(self):
        out, _ = self.colony("chat", "--max-tokens", 8, stdin="Hello\n/new\nWhat is 2+2?\n")
        self.assertEqual(len(out.strip("\n").split("\n")) >= 2, True)

    def test_memory_ceiling_refuses(self):
        _, err = self.colony("generate", "-", "--memory", "50MiB", stdin='{"prompt":"a"}\n', status=1)
        self.assertIn("weights", err)

    def test_dtypes_agree(self):
        one = self.write("g.jsonl", [{"prompt": "The capital of France is"}])
        texts = {d: self.lines("generate", one, "--json", "--max-tokens", 6, "--dtype", d)[0]["text"] for d in ("f32", "bf16", "int8")}
        self.assertEqual(len(set(texts.values())), 1, texts)


if __name__ == "__main__":
    harness.main()
