"""What fails, and what is said of it: agents that raise, hang, cannot load; deadlines; kills; and the story of a task afterwards."""
import json
import os
import signal
import sqlite3
import struct
import subprocess
import time

import harness

RAISES = "function before(task) error('raised on purpose') end\n"
HANGS = "function before(task) while true do end end\n"
HOARDS = "function before(task) local t = {} for i = 1, 1e7 do t[i] = i .. 'x' end end\n"
ADDS = """function before(task)
  local a, b = task.prompt:match('(%d+) %+ (%d+)')
  return {answer = string.format('%d', a + b)}
end
"""


def tasks(count, check=True):
    rows = []
    for i in range(count):
        a, b = i % 37 + 3, i % 11 + 2
        row = {"id": f"t{i}", "kind": f"k{i % 2}", "prompt": f"What is {a} + {b}?"}
        if check:
            row |= {"answer": str(a + b), "check": "numeric"}
        rows.append(row)
    return rows


def put_adapter(folder, rank, layers=30, width=576):
    """A LoRA of zeros on q_proj of the starter model; the file is as large as its rank says."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"]}))
    header, at = {}, 0
    for layer in range(layers):
        for part, shape in (("A", [rank, width]), ("B", [width, rank])):
            size = 4 * shape[0] * shape[1]
            header[f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{part}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
            at += size
    head = json.dumps(header).encode()
    with open(folder / "adapter_model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + at)


class Failures(harness.Case):
    def agent(self, name, script="", rest=""):
        folder = self.folder / "agents" / name
        folder.mkdir(parents=True)
        (folder / "agent.toml").write_text(f'name = "{name}"\n{rest}')
        if script:
            (folder / "script.lua").write_text(script)
        return folder

    def run_it(self, rows, *words, status=0):
        out = self.folder / "results.jsonl"
        stdout, self.err = self.colony("run", self.write("tasks.jsonl", rows), "--agents", self.folder / "agents", "--out", out, "--json", *([] if "--max-tokens" in words else ["--max-tokens", 8]), *words, status=status)
        return json.loads(stdout.splitlines()[-1]), [json.loads(line) for line in out.read_text().splitlines()]

    def test_the_good_agent_wins(self):
        for name, script in (("raises", RAISES), ("hangs", HANGS), ("hoards", HOARDS), ("adds", ADDS)):
            self.agent(name, script)
        for words in ((), ("--nodes", 3), ("--quorum",), ("--quorum", "--nodes", 3)):
            home = self.folder / "-".join(map(str, ("home", *words)))
            summary, results = self.run_it(tasks(60), "--home", home, "--attempts", 4, *words)
            self.assertEqual((summary["final"], summary["failed"], summary["unfinished"]), (60, 0, 0))
            self.assertEqual(summary["success"], 1)
            self.assertEqual({r["agent"] for r in results}, {"adds"})
            by_agent = {a["agent"]: a for a in summary["by_agent"]}
            self.assertEqual((by_agent["adds"]["tasks"], by_agent["adds"]["failed"], by_agent["adds"]["success"]), (60, 0, 1))
            for name in ("raises", "hangs", "hoards"):
                tried = [a for r in results for a in r["attempts"] if a["agent"] == name]
                self.assertTrue(all(a["error"] for a in tried))
                if not tried:
                    continue
                self.assertEqual((by_agent[name]["tasks"], by_agent[name]["failed"], by_agent[name]["success"]), (len(tried), len(tried), 0))
                late = sum(a["agent"] == name for r in results[30:] for a in r["attempts"])
                if "--quorum" not in words:  # which asks whoever is left
                    self.assertLess(late, 6, (words, name))
            for r in results:
                names = [a["agent"] for a in r["attempts"]]
                self.assertEqual(len(names), len(set(names)), "an agent that failed is not asked again")
                if "--quorum" not in words:
                    self.assertEqual(names[-1], r["agent"])
                    self.assertNotIn("error", r["attempts"][-1])
                self.assertTrue(all(a["ms"] >= 0 for a in r["attempts"]))
                self.assertEqual("node" in r, "--nodes" in words)
            self.assertEqual("by_node" in summary, "--nodes" in words)
            for kind in summary["by_kind"]:
                self.assertEqual((kind["success"], kind["best_agent"]), (1, "adds"))
            with sqlite3.connect(home / "colony.db") as db:
                zeros = db.execute("SELECT COUNT(*) FROM deposits WHERE score = 0").fetchone()[0]
                self.assertEqual(zeros, db.execute("SELECT COUNT(*) FROM attempts WHERE blamed").fetchone()[0])
                self.assertEqual(zeros, sum("error" in a for r in results for a in r["attempts"]))
                self.assertEqual(db.execute("SELECT COUNT(DISTINCT node) FROM tasks").fetchone()[0], 3 if "--nodes" in words else 1)

    def test_the_same_seed_gives_the_same_attempts(self):
        for name in ("raises-a", "raises-b", "raises-c"):
            self.agent(name, RAISES)
        self.agent("adds", ADDS)
        def told(home):
            results = self.run_it(tasks(40), "--home", self.folder / home, "--seed", 3, status=None)[1]
            return [(r["id"], r["agent"], [(a["agent"], a.get("error")) for a in r["attempts"]], r["success"]) for r in results]
        self.assertEqual(told("one"), told("two"))

    def test_failures_count(self):
        self.agent("raises", RAISES)
        self.agent("hangs", HANGS)
        summary, results = self.run_it(tasks(20), status=1)
        self.assertEqual((summary["final"], summary["failed"]), (20, 20))
        self.assertEqual((summary["success"], summary["first_tenth"], summary["last_tenth"]), (0, 0, 0))
        self.assertEqual(summary["ci95"][0], 0)
        self.assertLess(summary["ci95"][1], 0.3)
        for kind in summary["by_kind"]:
            self.assertEqual((kind["success"], kind["best_agent"]), (0, ""))
        for r in results:
            self.assertIsNone(r["answer"])
            self.assertEqual(r["success"], 0)
            self.assertTrue(r["error"])
            self.assertEqual({a["agent"] for a in r["attempts"]}, {"raises", "hangs"})
        # Without a check they failed all the same, and are not in the success.
        summary, results = self.run_it(tasks(5, check=False), "--home", self.folder / "unscored", status=1)
        self.assertEqual((summary["failed"], summary["success"]), (5, None))
        # One attempt: no other is asked.
        self.agent("adds", ADDS)
        summary, results = self.run_it(tasks(40), "--attempts", 1, "--home", self.folder / "once", status=None)
        self.assertTrue(all(len(r["attempts"]) == 1 for r in results))
        self.assertEqual(summary["failed"], sum(r["agent"] != "adds" for r in results))
        self.assertAlmostEqual(summary["success"], sum(r["success"] for r in results) / 40)

    def test_what_cannot_be_hosted(self):
        self.agent("adds", ADDS)
        put_adapter(self.agent("large") / "adapter", 1024)
        put_adapter(self.agent("narrow") / "adapter", 4, width=64)
        self.agent("lacking", ADDS, '[requires]\nexecutables = ["no-such-program-anywhere"]\n')
        self.agent("foreign", "", 'model = "no/such-model"\n')
        (self.folder / "agents" / "broken").mkdir()
        (self.folder / "agents" / "broken" / "agent.toml").write_text("nonsense = 1\n")
        memory = ("--memory", "400MiB")
        summary, results = self.run_it(tasks(12), *memory)
        reasons = {one["agent"]: one["reason"] for one in summary["not_hosted"]}
        self.assertEqual(set(reasons), {"large", "narrow", "lacking", "foreign", "broken"})
        for name, word in (("large", "--memory"), ("narrow", "shape"), ("lacking", "no-such-program-anywhere"), ("foreign", "no/such-model"), ("broken", "nonsense")):
            self.assertIn(word, reasons[name])
            self.assertIn(f"agent {name} is not hosted: {reasons[name]}", self.err)
        self.assertEqual({b["agent"] for r in results for b in r["bids"]}, {"adds"})
        self.assertEqual((summary["success"], summary["failed"]), (1, 0))
        # `agents check` says the same, in the same words.
        checked = {c["agent"]: c for c in self.lines("agents", "check", "--agents", self.folder / "agents", *memory, "--json", status=1)}
        self.assertEqual({name for name, c in checked.items() if not c["ok"]}, set(reasons))
        for name, reason in reasons.items():
            self.assertEqual(checked[name]["problems"], [reason])
        self.assertTrue(checked["adds"]["ok"])
        # Where it fits it takes part.
        summary, _ = self.run_it(tasks(4), "--memory", "3GiB", "--home", self.folder / "roomy")
        self.assertNotIn("large", {one["agent"] for one in summary["not_hosted"]})
        # Nobody: an error that says why, and no run.
        _, err = self.colony("run", self.folder / "tasks.jsonl", "--agents", self.folder / "agents", "--only", "large,lacking", *memory, "--home", self.folder / "nobody", status=1)
        self.assertIn("no agent can be hosted", err)
        self.assertIn("no-such-program-anywhere", err)
        self.assertEqual(self.lines("runs", "--json", "--home", self.folder / "nobody"), [])

    def test_a_deadline_leaves_unfinished_what_resume_does(self):
        self.agent("model")
        self.run_it(tasks(1))  # measures the places of a fresh home, which takes its time
        start = time.time()
        summary, results = self.run_it(tasks(1500), "--deadline", 4, "--max-tokens", 24, status=1)
        self.assertLess(time.time() - start, 60)
        self.assertEqual(summary["failed"], 0)
        self.assertGreater(summary["unfinished"], 0)
        self.assertEqual(summary["final"] + summary["unfinished"], 1500)
        self.assertEqual(len(results), summary["final"])
        self.assertTrue(all("error" not in r for r in results))
        self.assertAlmostEqual(summary["success"], sum(r["success"] for r in results) / len(results))
        self.assertIn("--resume", self.err)
        self.assertEqual(self.lines("runs", "--json")[-1]["state"], "interrupted")
        again = self.lines("run", "--resume", "last", "--deadline", 5, "--json", status=None)[-1]
        self.assertGreater(again["final"], summary["final"])
        shown = self.lines("runs", "show", "last", "--json")[-1]
        self.assertEqual((shown["final"], shown["unfinished"], shown["success"]), (again["final"], again["unfinished"], again["success"]))

    def test_killed_with_attempts_and_resumed(self):
        self.agent("raises", RAISES)
        self.agent("late", "function after(task, text) error('after') end\n", "[limits]\nmax_tokens = 4\n")
        self.agent("model", "", "[limits]\nmax_tokens = 4\n")
        rows = tasks(150)
        path, out = self.write("tasks.jsonl", rows), self.folder / "r.jsonl"
        env = {**os.environ, "COLONY_HOME": str(self.home)}
        for number in range(6):
            words = ["--resume", "last"] if number else [path, "--out", out, "--agents", self.folder / "agents"]
            process = subprocess.Popen([harness.COLONY, "run", *map(str, words)], env=env, cwd=harness.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until = time.time() + 60
            before = self.final()
            while time.time() < until and process.poll() is None and self.final() < before + 12:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.colony("run", "--resume", "last")
        results = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([r["id"] for r in results], [r["id"] for r in rows])
        for r in results:
            self.assertEqual(r["attempts"][-1]["agent"], r["agent"])
            self.assertEqual(len(r["attempts"]), len({a["agent"] for a in r["attempts"]}))
        with sqlite3.connect(self.home / "colony.db") as db:
            counts = dict(db.execute("SELECT idx, COUNT(*) FROM attempts GROUP BY idx"))
        self.assertEqual(counts, {i: len(r["attempts"]) for i, r in enumerate(results)})

    def final(self):
        if not (self.home / "colony.db").exists():
            return 0
        with sqlite3.connect(self.home / "colony.db", timeout=10) as db:
            try:
                return db.execute("SELECT COUNT(*) FROM tasks").fetchone()[0]
            except sqlite3.OperationalError:  # the tables are just made
                return 0

    def test_full_lines_why_and_show(self):
        self.agent("raises", RAISES)
        self.agent("adds", ADDS)
        self.agent("says", "function after(task, text) return 'said ' .. #text end\n", "[limits]\nmax_tokens = 3\n")
        summary, results = self.run_it(tasks(20), "--full", status=None)
        for row, r in zip(tasks(20), results):
            self.assertEqual((r["prompt"], r["expected"]), (row["prompt"], row["answer"]))
            self.assertEqual(r["raw"] is None, r["by"] == "script" or r["answer"] is None)
            if r["raw"] is not None:
                self.assertEqual(r["answer"], f"said {len(r['raw'].encode())}")
        told = next(r for r in results if len(r["attempts"]) > 1)
        story = self.lines("why", "last", told["id"], "--json")[0]
        self.assertEqual(story, self.lines("why", summary["run"], str(results.index(told)), "--json")[0])
        for key in ("id", "kind", "agent", "generation", "bids", "reason", "answer", "success"):
            self.assertEqual(story[key], told[key], key)
        self.assertEqual(story["prompt"], told["prompt"])
        self.assertEqual((story["check"], story["state"]), ("numeric", "final"))
        self.assertEqual([(a["agent"], a.get("error")) for a in story["attempts"]], [(a["agent"], a.get("error")) for a in told["attempts"]])
        self.assertEqual({d["agent"]: d["score"] for d in story["deposits"]}, {**{a["agent"]: 0 for a in told["attempts"]}, told["agent"]: told["success"]})
        self.assertEqual(story["cost"]["completion_tokens"], told["completion_tokens"])
        out, _ = self.colony("why", "last", told["id"])
        for word in (told["prompt"], "raised on purpose", told["reason"], "numeric", "deposit"):
            self.assertIn(word, out)
        (self.folder / "tasks.jsonl").unlink()
        _, err = self.colony("why", "last", told["id"])
        self.assertIn("task file", err)
        _, err = self.colony("why", "last", "t200", status=1)
        self.assertIn("t200", err)
        shown = self.lines("runs", "show", "last", "--json")[0]
        self.assertEqual({k: v for k, v in shown.items() if k not in ("state", "started")}, summary)
        out, _ = self.colony("runs", "show", summary["run"])
        for word in ("AGENT", "raises", "FAILED", "by the clock", "finished"):
            self.assertIn(word, out)
        self.colony("runs", "show", "r000099", status=1)

    def test_tasks_as_they_come(self):
        self.agent("adds", ADDS)
        process = subprocess.Popen([harness.COLONY, "run", "-", "--agents", str(self.folder / "agents"), "--json"], env={**os.environ, "COLONY_HOME": str(self.home)}, cwd=harness.ROOT,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        rows = tasks(6)
        for row in rows[:3]:  # each answered before the next one is asked
            process.stdin.write(json.dumps(row) + "\n")
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["id"], row["id"])
        process.stdin.write("{bad\n" + "".join(json.dumps(row) + "\n" for row in rows[3:5]) + json.dumps(rows[5]))
        out, err = process.communicate(timeout=60)
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([line["id"] for line in lines[:-1]], [row["id"] for row in rows[3:]])
        self.assertEqual((lines[-1]["tasks"], lines[-1]["final"], lines[-1]["success"]), (6, 6, 1))
        self.assertIn("standard input:4:", err)
        self.assertEqual(process.returncode, 1)
        # Resumed it is all there again, in order.
        again = self.lines("run", "--resume", "last", "--json", status=1)
        self.assertEqual([line["id"] for line in again[:-1]], [row["id"] for row in rows])
        # What comes at once is the same run as from a file.
        rows = tasks(80)
        told = lambda results: [(r["id"], r["agent"], r["answer"]) for r in results]
        path = self.write("tasks.jsonl", rows)
        for name, script in (("raises", RAISES), ("wrong", "function before(task) return {answer = '1'} end\n")):
            self.agent(name, script)
        usual = ("--agents", self.folder / "agents", "--json")
        piped = self.lines("run", "-", *usual, "--home", self.folder / "piped", stdin=path.read_text())[:-1]
        self.assertEqual(told(piped), told(self.lines("run", path, "--out", "-", *usual, "--home", self.folder / "file")[:-1]))
        shuffled = self.lines("run", "-", "--shuffle", *usual, "--home", self.folder / "shuffled", stdin=path.read_text())[:-1]
        self.assertEqual(told(shuffled), told(self.lines("run", path, "--shuffle", "--out", "-", *usual, "--home", self.folder / "file2")[:-1]))
        self.assertEqual(sorted(r["id"] for r in shuffled), sorted(r["id"] for r in rows))
        self.colony("run", "-", *usual, "--home", self.folder / "empty", stdin="\n", status=1)
        # The report does not stand between the results.
        out, err = self.colony("run", path, "--out", "-", "--agents", self.folder / "agents", "--home", self.folder / "file3")
        self.assertEqual(len([json.loads(line) for line in out.splitlines()]), 80)
        self.assertIn("AGENT", err)

    def test_an_interrupted_stream_goes_on(self):
        self.agent("model", "", "[limits]\nmax_tokens = 4\n")
        process = subprocess.Popen([harness.COLONY, "run", "-", "--agents", str(self.folder / "agents"), "--json"], env={**os.environ, "COLONY_HOME": str(self.home)}, cwd=harness.ROOT,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for row in tasks(40):
            process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        self.assertEqual(json.loads(process.stdout.readline())["id"], "t0")
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        run = self.lines("runs", "--json")[-1]
        self.assertEqual(run["state"], "interrupted")
        again = self.lines("run", "--resume", "last", "--json")
        self.assertEqual([line["id"] for line in again[:-1]], [f"t{i}" for i in range(run["tasks"])])

    def test_head_ends_quietly(self):
        self.agent("adds", ADDS)
        path = self.write("tasks.jsonl", tasks(3000))
        command = f"{harness.COLONY} run {path} --agents {self.folder / 'agents'} --out - | head -n 2; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], env={**os.environ, "COLONY_HOME": str(self.home)}, capture_output=True, text=True, cwd=harness.ROOT, timeout=120)
        lines = done.stdout.splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines[:2]], ["t0", "t1"])
        self.assertEqual(lines[2], "141")
        for word in ("Broken pipe", "interrupted", "AGENT"):
            self.assertNotIn(word, done.stderr)

    def test_agents_edited_while_running_are_announced(self):
        folder = self.agent("model", "", "[limits]\nmax_tokens = 6\n")
        out = self.folder / "r.jsonl"
        process = subprocess.Popen([harness.COLONY, "run", str(self.write("tasks.jsonl", tasks(400))), "--agents", str(self.folder / "agents"), "--out", str(out), "--json"],
                                   env={**os.environ, "COLONY_HOME": str(self.home)}, cwd=harness.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and self.final() < 20:
            time.sleep(0.02)
        (folder / "PROMPT.md").write_text("Answer with a number.\n")
        stdout, err = process.communicate(timeout=300)
        summary = json.loads(stdout.splitlines()[-1])
        self.assertEqual(len(summary["news"]), 1)
        self.assertIn("agent model was edited", summary["news"][0])
        self.assertIn(summary["news"][0], err)
        generations = {json.loads(line)["generation"] for line in out.read_text().splitlines()}
        self.assertEqual(len(generations), 2)
        self.assertTrue(all(g in summary["news"][0] for g in generations))


if __name__ == "__main__":
    harness.main()
