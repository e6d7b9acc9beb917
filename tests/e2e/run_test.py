"""colony run: results, summary, nodes, budgets, seeds, resume, bad lines, interruption."""
import json
import os
import signal
import sqlite3
import subprocess
import time

import harness

KINDS = 4


def tasks(count, check=True):
    rows = []
    for i in range(count):
        a, b = i % 37 + 3, i % 11 + 2
        row = {"id": f"t{i}", "kind": f"k{i % KINDS}", "prompt": f"What is {a} + {b}?", "note": {"kept": i}}
        if check:
            row |= {"answer": str(a + b), "check": "numeric"}
        rows.append(row)
    return rows


class Run(harness.Case):
    def run_it(self, rows, *words, status=0, name="tasks.jsonl"):
        out = self.folder / "results.jsonl"
        summary = self.lines("run", self.write(name, rows), "--out", out, "--json", "--max-tokens", 12, *words, status=status)[-1]
        return summary, [json.loads(line) for line in out.read_text().splitlines()]

    def test_results_and_summary(self):
        rows = tasks(40)
        summary, results = self.run_it(rows)
        self.assertEqual([r["id"] for r in results], [r["id"] for r in rows])
        for row, r in zip(rows, results):
            self.assertEqual(r["kind"], row["kind"])
            self.assertEqual(r["note"], row["note"])
            self.assertIn(r["by"], ("model", "script"))
            self.assertTrue(0 <= r["success"] <= 1)
            self.assertTrue(r["agent"] and r["generation"] and r["reason"])
            self.assertGreaterEqual(r["ms"], 0)
            best = max(b["bid"] for b in r["bids"])
            ties = [b for b in r["bids"] if b["bid"] == best]
            for b in r["bids"]:
                self.assertAlmostEqual(b["p"], 1 / len(ties) if b["bid"] == best else 0)
            self.assertIn(r["agent"], [b["agent"] for b in ties])
        self.assertEqual((summary["tasks"], summary["final"], summary["failed"]), (40, 40, 0))
        self.assertAlmostEqual(summary["success"], sum(r["success"] for r in results) / 40)
        # An agent that failed at a task was given it too.
        self.assertEqual(sum(a["tasks"] for a in summary["by_agent"]), sum(len(r["attempts"]) for r in results))
        self.assertEqual(sum(a["tasks"] - a["failed"] for a in summary["by_agent"]), 40)
        self.assertEqual([k["kind"] for k in summary["by_kind"]], ["k0", "k1", "k2", "k3"])
        self.assertAlmostEqual(summary["first_tenth"], sum(r["success"] for r in results[:4]) / 4)
        self.assertAlmostEqual(summary["last_tenth"], sum(r["success"] for r in results[-4:]) / 4)
        self.assertEqual(summary["completion_tokens"], sum(r["completion_tokens"] for r in results))
        for key in "run ci95 prompt_tokens seconds work_seconds unfinished not_hosted tasks_per_s tokens_per_s peak_bytes ledger".split():
            self.assertIn(key, summary)
        self.assertTrue(os.path.exists(summary["ledger"]))
        listed = self.lines("runs", "--json")
        self.assertEqual([(r["run"], r["tasks"], r["final"], r["state"]) for r in listed], [(summary["run"], 40, 40, "finished")])
        # Resuming what is finished leaves the same file behind.
        before = (self.folder / "results.jsonl").read_text()
        (self.folder / "results.jsonl").unlink()
        self.colony("run", "--resume", "last", "--json")
        self.assertEqual((self.folder / "results.jsonl").read_text(), before)

    def stable(self, results):
        return [{k: [a["agent"] for a in v] if k == "attempts" else v for k, v in r.items() if k != "ms"} for r in results]

    def test_the_same_seed_gives_the_same_run(self):
        rows = tasks(60)
        first = self.run_it(rows, "--seed", 7, "--shuffle")[1]
        again = self.run_it(rows, "--seed", 7, "--shuffle", "--home", self.folder / "other", "--threads", 1)[1]
        self.assertEqual(self.stable(first), self.stable(again))
        self.assertEqual(sorted(r["id"] for r in first), sorted(r["id"] for r in rows))
        third = self.run_it(rows, "--seed", 8, "--shuffle", "--home", self.folder / "third")[1]
        self.assertNotEqual([r["id"] for r in first], [r["id"] for r in third])

    def test_trails_last_from_run_to_run(self):
        rows = tasks(60)
        self.run_it(rows)
        results = self.run_it(rows)[1]
        self.assertTrue(all(r["reason"] != "newcomer" for r in results[:8]), results[0])

    def test_only_and_nodes(self):
        results = self.run_it(tasks(10), "--only", "generalist")[1]
        self.assertEqual({r["agent"] for r in results}, {"generalist"})
        for words in (("--only", "arithmetic,generalist"), ("--only", "arithmetic", "generalist"), ("--only", "arithmetic", "--only", "generalist")):
            results = self.run_it(tasks(10), *words, "--home", self.folder / "two")[1]
            self.assertEqual({b["agent"] for r in results for b in r["bids"]}, {"arithmetic", "generalist"})
        results = self.run_it(tasks(10), "--only", "generalist")[1]
        self.assertTrue(all(r["by"] == "model" for r in results))
        summary, results = self.run_it(tasks(40), "--nodes", 4, "--home", self.folder / "four")
        self.assertEqual((summary["final"], summary["failed"]), (40, 0))
        self.assertGreater(len({b["agent"] for r in results for b in r["bids"]}), 5)
        _, err = self.colony("run", self.write("tasks.jsonl", tasks(3)), "--only", "nobody", status=1)
        self.assertIn("nobody", err)

    def test_new_agents_are_tested_before_the_stream(self):
        file = self.write("tasks.jsonl", tasks(8))
        held_out = self.write("held_out.jsonl", [{"id": f"h{i}", "prompt": f"Say {i}.", "answer": str(i)} for i in range(3)])
        agents = self.folder / "agents"
        for name, answer in (("one", "1"), ("two", "2")):
            (agents / name).mkdir(parents=True)
            (agents / name / "agent.toml").write_text(f'name = "{name}"\n')
            (agents / name / "script.lua").write_text(f"function before(task) return {{answer = '{answer}'}} end\n")
        words = ["run", file, "--agents", agents, "--held-out", held_out, "--json"]
        _, said = self.colony(*words)
        self.assertIn("testing 2 new agents on the 3 tasks of", said)
        self.assertTrue((agents / "one" / "tested.json").exists())
        db = sqlite3.connect(self.home / "colony.db")
        self.assertEqual(db.execute("SELECT agent, LENGTH(items) FROM tests ORDER BY agent").fetchall(), [("one", 3 * 264), ("two", 3 * 264)])
        _, said = self.colony(*words)
        self.assertIn("every agent has been tested here already", said)
        (agents / "two" / "script.lua").write_text("function before(task) return {answer = '0'} end\n")
        _, said = self.colony(*words)
        self.assertIn("testing 1 new agent on", said)
        # Without the option nothing is tested; eval --each --keep leaves the same in the ledger.
        (agents / "one" / "script.lua").write_text("function before(task) return {answer = '0'} end\n")
        _, said = self.colony("run", file, "--agents", agents, "--json")
        self.assertNotIn("testing", said)
        self.colony("eval", held_out, "--each", "--keep", "--agents", agents)
        self.assertEqual(db.execute("SELECT COUNT(*) FROM tests WHERE agent = 'one'").fetchone(), (2,))
        _, said = self.colony("run", "--resume", "last", "--held-out", held_out, status=2)
        self.assertIn("--held-out", said)

    def test_routes_are_a_persons_word(self):
        file = self.write("tasks.jsonl", tasks(8))
        agents = self.folder / "agents"
        for name in ("one", "two"):
            (agents / name).mkdir(parents=True)
            (agents / name / "agent.toml").write_text(f'name = "{name}"\n')
            (agents / name / "script.lua").write_text(f"function before(task) return {{answer = '{name}'}} end\n")
        out = self.folder / "out.jsonl"
        self.colony("run", file, "--agents", agents, "--route", "k1=two", "--out", out)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        pinned = [row for row in rows if row["kind"] == "k1"]
        self.assertGreater(len(pinned), 0)
        for row in pinned:
            self.assertEqual((row["agent"], row["reason"]), ("two", "pinned"))
        _, said = self.colony("run", file, "--agents", agents, "--route", "x=three", status=2)
        self.assertIn("found no agent 'three', expected one of: one, two", said)
        _, said = self.colony("run", file, "--agents", agents, "--route", "three", status=2)
        self.assertIn("expected kind=agent", said)

    def test_bad_lines(self):
        rows = ["{", {"id": "a"}, {"prompt": "What is 2+2?", "answer": "4", "check": "numeric"}, {"prompt": "x", "answer": "4", "check": "nonsense"},
                {"prompt": "x", "check": "exact"}]
        path = self.write("tasks.jsonl", rows)
        out = self.folder / "r.jsonl"
        _, err = self.colony("run", path, "--out", out, "--max-tokens", 8, status=1)
        for line in (1, 2, 4, 5):
            self.assertIn(f"tasks.jsonl:{line}:", err)
        self.assertEqual(len(out.read_text().splitlines()), 1)
        self.colony("run", self.write("none.jsonl", ["{"]), status=1)

    def test_tasks_without_a_check_are_answered(self):
        summary, results = self.run_it(tasks(5, check=False))
        self.assertTrue(all(r["success"] is None and r["answer"] for r in results))
        self.assertIsNone(summary["success"])

    def test_a_budget_is_never_passed(self):
        summary, results = self.run_it(tasks(30), "--budget-tokens", 600, "--only", "generalist", status=1)
        used = sum(r["prompt_tokens"] + r["completion_tokens"] for r in results)
        self.assertLessEqual(used, 600)
        self.assertEqual(len(results), 30)
        self.assertGreater(summary["failed"], 0)
        self.assertTrue(all("budget" in r["error"] for r in results if "error" in r), results)
        self.assertAlmostEqual(summary["success"], sum(r["success"] for r in results) / 30)

    def test_a_deadline_ends_the_run(self):
        self.run_it(tasks(1), "--only", "generalist")  # measures the places of a fresh home, which takes its time
        start = time.time()
        summary, results = self.run_it(tasks(4000), "--deadline", 15, "--only", "generalist", status=1)
        self.assertLess(time.time() - start, 60)
        self.assertEqual((summary["failed"], summary["final"]), (0, len(results)))
        self.assertEqual(summary["unfinished"], 4000 - len(results))
        self.assertGreater(len(results), 0)
        self.assertLess(len(results), 4000)

    def test_interrupt_and_resume(self):
        rows = tasks(400)
        path, out = self.write("tasks.jsonl", rows), self.folder / "r.jsonl"
        env = {**os.environ, "COLONY_HOME": str(self.home)}
        process = subprocess.Popen([harness.COLONY, "run", path, "--out", out, "--only", "generalist", "--max-tokens", "12"], env=env, cwd=harness.ROOT,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(3)
        state = self.lines("runs", "--json")[-1]["state"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(state, "running")
        self.assertIn("--resume r000001", err)
        self.assertEqual(self.lines("runs", "--json")[-1]["state"], "interrupted")
        part = len(out.read_text().splitlines())
        self.assertLess(part, 400)
        self.colony("run", "--resume", "last")
        results = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([r["id"] for r in results], [r["id"] for r in rows])
        path.write_text("{\"prompt\":\"other\"}\n")
        _, err = self.colony("run", "--resume", "r000001", status=1)
        self.assertIn("tasks.jsonl", err)
        self.colony("run", "--resume", "r999999", status=1)

    def test_standard_input(self):
        out = self.folder / "r.jsonl"
        self.colony("run", "-", "--out", out, "--max-tokens", 8, stdin="".join(json.dumps(t) + "\n" for t in tasks(3)))
        self.assertEqual(len(out.read_text().splitlines()), 3)


if __name__ == "__main__":
    harness.main()
