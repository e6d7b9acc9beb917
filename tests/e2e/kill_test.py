"""kill -9 at random moments, a hundred times, then on: each task final exactly once."""
import json
import os
import random
import signal
import subprocess
import time

import harness
from run_test import tasks


class Kill(harness.Case):
    def test_a_hundred_kills(self):
        rows = tasks(1500)
        path, out = self.write("tasks.jsonl", rows), self.folder / "r.jsonl"
        env = {**os.environ, "COLONY_HOME": str(self.home)}
        rng = random.Random(3)
        kills, rounds, final = 0, 0, 0
        while kills < 100:
            rounds += 1
            self.assertLess(rounds, 400)
            begun = self.home.exists() and self.lines("runs", "--json")
            words = ["--resume", "last"] if begun else [path, "--out", out, "--nodes", "2", "--max-tokens", "8"]
            process = subprocess.Popen([harness.COLONY, "run", *map(str, words)], env=env, cwd=harness.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                # From before the model is loaded to well into the stream.
                process.wait(timeout=rng.uniform(0.05, 1.6))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            _, err = process.communicate()
            if process.returncode == -signal.SIGKILL:
                kills += 1
            else:
                self.assertEqual(process.returncode, 0, err)
                # Came to its end: look at it, then begin another run.
                self.look(out, rows)
                self.home.rename(self.folder / f"home{rounds}")
                final = 0
                continue
            if begun:
                now = self.lines("runs", "--json")[-1]
                self.assertGreaterEqual(now["final"], final)
                self.assertNotEqual(now["state"], "running")
                final = now["final"]
        if not (self.home.exists() and self.lines("runs", "--json")):
            self.colony("run", path, "--out", out, "--max-tokens", 8)
        else:
            self.colony("run", "--resume", "last")
        self.look(out, rows)
        print(f"  {kills} kills in {rounds} rounds")

    def look(self, out, rows):
        results = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([r["id"] for r in results], [r["id"] for r in rows])
        self.assertTrue(all(r["answer"] and "error" not in r for r in results))


if __name__ == "__main__":
    harness.main()
