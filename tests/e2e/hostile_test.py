"""What careless and hostile users do: bad numbers, lost output, wrong --out, signals, strange bytes."""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import time

import harness
from run_test import tasks


class Hostile(harness.Case):
    def start(self, *words, **how):
        return subprocess.Popen([harness.COLONY, *map(str, words)], env={**os.environ, "COLONY_HOME": str(self.home)}, cwd=harness.ROOT,
                                stderr=subprocess.PIPE, text=True, **how)

    def test_numbers_are_what_they_say(self):
        path = self.write("g.jsonl", [{"prompt": "Once upon a time"}])
        for words in (["--max-tokens", "-5"], ["--max-tokens", "1e3"], ["--max-tokens", "99999999999999999999"], ["--seed", "-1"], ["--seed", "1x"],
                      ["--temperature", "nan"], ["--temperature", "inf"], ["--temperature", "-1"], ["--top-p", "0"], ["--top-p", "nan"], ["--min-p", "nan"],
                      ["--repetition-penalty", "0"], ["--stop", ""], ["--memory", "much"], ["--memory", "-1"], ["--threads", "0"], ["--batch", "0"], ["--top-k", "-1"]):
            _, err = self.colony("generate", path, *words, status=2)
            self.assertIn(words[0], err)
        for words in (["--budget-tokens", "-5"], ["--budget-tokens", "x"], ["--deadline", "nan"], ["--deadline", "0"], ["--deadline", "1e300"], ["--nodes", "-1"], ["--nodes", "65"]):
            self.colony("run", path, *words, status=2)
        # Ten is ten, not eight.
        self.assertEqual(len(self.lines("generate", path, "--json", "--ignore-eos", "--max-tokens", "010")[0]["ids"]), 10)

    def test_output_that_nobody_takes(self):
        path = self.write("g.jsonl", [{"prompt": f"Once upon a time {i}"} for i in range(2000)])
        with open("/dev/full", "w") as full:
            for words in (["generate", path, "--json", "--max-tokens", "4"], ["tokenize", self.write("t.jsonl", [{"text": "a"}])], ["agents", "ls"], ["show"]):
                process = self.start(*words, stdout=full)
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 1, words)
                self.assertIn("standard output", err)
        done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "-", harness.COLONY, "run", self.write("tasks.jsonl", tasks(2)), "--out", self.folder / "r.jsonl", "--max-tokens", "4"],
                              env={**os.environ, "COLONY_HOME": str(self.home)}, cwd=harness.ROOT, timeout=60)
        self.assertEqual(done.returncode, 1)
        for line in (self.folder / "r.jsonl").read_text().splitlines():
            json.loads(line)
        process = self.start("generate", path, "--json", "--max-tokens", "4", stdout=subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        started = time.time()
        self.assertEqual(process.wait(timeout=60), 141)  # as a shell shows a death by SIGPIPE
        self.assertLess(time.time() - started, 20)
        self.assertNotIn("colony:", process.stderr.read())
        process.stderr.close()

    def test_an_option_given_nothing_is_wrong_usage(self):
        path = self.write("g.jsonl", [{"prompt": "Once"}])
        for words in (["runs", "--home", ""], ["runs", "--home="], ["generate", path, "--model", ""], ["generate", path, "--adapter", ""],
                      ["eval", path, "--agents", ""], ["train", path, "--out", ""], ["run", ""], ["agents", "ls", "--agents", ""]):
            _, err = self.colony(*words, status=2)
            self.assertIn("--help", err)

    def test_a_mistyped_word_names_the_nearest(self):
        for words, meant in ((["generate", "x", "--max-token", "3"], "--max-tokens"), (["run", "x", "--node=2"], "--nodes"), (["generat"], "generate"),
                             (["agents", "shwo"], "show"), (["eval", "x", "--agnet", "a"], "--agent")):
            _, err = self.colony(*words, status=2)
            self.assertIn(f"did you mean {meant}?", err)

    def test_out_is_looked_at_before_the_work(self):
        path = self.write("tasks.jsonl", tasks(3))
        before = path.read_text()
        for out, status in ((self.folder / "file/x", 1), (self.folder, 2), (path, 2)):
            if out.parent.name == "file":
                (self.folder / "file").write_text("")
            _, err = self.colony("run", path, "--out", out, "--max-tokens", 4, status=status)
            self.assertIn("--out", err)
            self.assertNotIn("run r0", err)
        self.assertEqual(path.read_text(), before)

    def test_out_may_be_a_pipe_and_a_link(self):
        path, pipe = self.write("tasks.jsonl", tasks(3)), self.folder / "pipe"
        os.mkfifo(pipe)
        reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
        self.colony("run", path, "--out", pipe, "--max-tokens", 4)
        self.assertEqual(len(reader.communicate(timeout=20)[0].splitlines()), 3)
        self.assertTrue(stat.S_ISFIFO(pipe.stat().st_mode))
        reader = subprocess.Popen(["wc", "-c", pipe], stdout=subprocess.PIPE, text=True)
        self.colony("logits", "-", "--out", pipe, stdin='{"ids":[1,2]}\n')
        self.assertEqual(reader.communicate(timeout=20)[0].split()[0], str(2 * 49152 * 4))
        self.assertTrue(stat.S_ISFIFO(pipe.stat().st_mode))
        (self.folder / "real").write_text("old")
        (self.folder / "link").symlink_to(self.folder / "real")
        self.colony("run", path, "--out", self.folder / "link", "--max-tokens", 4)
        self.assertEqual(len((self.folder / "real").read_text().splitlines()), 3)
        self.assertTrue((self.folder / "link").is_symlink())

    def test_a_pipe_of_tasks_is_kept_for_going_on(self):
        path, pipe, out = self.write("tasks.jsonl", tasks(3)), self.folder / "pipe", self.folder / "r.jsonl"
        os.mkfifo(pipe)
        writer = subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', path, pipe])
        self.colony("run", pipe, "--out", out, "--max-tokens", 4)
        writer.wait(timeout=20)
        before = out.read_text()
        self.colony("run", "--resume", "last")
        self.assertEqual(out.read_text(), before)

    def test_only_may_stand_before_the_tasks(self):
        path = self.write("tasks.jsonl", tasks(2))
        out = self.folder / "r.jsonl"
        self.colony("run", "--out", out, "--max-tokens", 4, "--only", "generalist", "arithmetic", path)
        self.assertEqual(len(out.read_text().splitlines()), 2)

    def test_resume_keeps_what_the_run_was_started_with(self):
        path, out = self.write("tasks.jsonl", tasks(4)), self.folder / "r.jsonl"
        self.colony("run", path, "--out", out, "--max-tokens", 4, "--seed", 3)
        first = out.read_text()
        _, err = self.colony("run", "--resume", "last", "--seed", 4, status=2)
        self.assertIn("--seed", err)
        self.colony("run", "--resume", "last", "--nodes", 2, status=2)
        _, err = self.colony("run", "--resume", "last", "--kv", "int8", status=2)
        self.assertIn("\"auto\"", err)
        other = self.folder / "other.jsonl"
        self.colony("run", "--resume", "last", "--out", other, "--seed", 3, "--max-tokens", 4, "--threads", 1)
        self.assertEqual(other.read_text(), first)

    def test_our_fields_are_ours(self):
        rows = [{"prompt": "Say hi.", "error": "mine", "success": 1, "agent": "me", "bids": 3, "ms": "x", "by": 7, "prompt_tokens": -5, "note": "kept"}]
        out = self.folder / "r.jsonl"
        summary = self.lines("run", self.write("tasks.jsonl", rows), "--out", out, "--json", "--max-tokens", 4)[-1]
        result = json.loads(out.read_text())
        self.assertEqual((summary["failed"], result["note"], result["success"]), (0, "kept", None))
        self.assertNotIn("error", result)
        self.assertNotEqual(result["agent"], "me")

    def test_a_task_that_its_check_cannot_judge_is_a_bad_line(self):
        rows = [{"prompt": "a", "answer": "no number", "check": "numeric"}, {"prompt": "b", "answer": "{", "check": "json"}, {"prompt": "c", "check": "has_slots"},
                {"prompt": "d", "answer": "1", "check": "numeric"}, {"prompt": "e", "answer": "x", "check": "regex:("}]
        out = self.folder / "r.jsonl"
        _, err = self.colony("run", self.write("tasks.jsonl", rows), "--out", out, "--max-tokens", 4, status=1)
        for line in (1, 2, 3, 5):
            self.assertIn(f"tasks.jsonl:{line}:", err)
        self.assertEqual(len(out.read_text().splitlines()), 1)

    def test_strange_bytes(self):
        path = self.folder / "g.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + b"\n".join([
            b'{"prompt":"a\xff\xfe"}', b'{"prompt":"a\x00b"}', b"\x00", b"\x1b[2J", b'{"prompt":' + b"[" * 100000, b'{"prompt":"x","prompt":"y"}', b'{"ids":[1e400]}',
            b'{"ids":[18446744073709551615]}', b'{"ids":[-9223372036854775808]}', b'{"ids":[1.0]}', b'{"ids":[true]}', b'{"ids":{"a":1}}', b'null', b'"x"',
            b'{"messages":[{"role":1,"content":2}]}', b'{"messages":[null]}', b'{"messages":{}}', b'{"prompt":"\\ud800"}', b'{"prompt":"ok\\u0000ok"}', b'{"prompt":"ok"}\r']))
        for verb in ("generate", "score", "tokenize", "render", "eval", "run"):
            _, err = self.colony(verb, path, *(["--max-tokens", 2] if verb not in ("tokenize", "render") else []), status=1)
            self.assertNotRegex(err, r"[\x00-\x08\x0b-\x1f]")
        self.colony("logits", path, "--out", self.folder / "x.f32", status=1)
        out = self.lines("generate", path, "--json", "--max-tokens", 2, status=1)
        self.assertEqual([o["index"] for o in out], list(range(20)))
        self.assertEqual(out[19]["finish"], "length")

    def test_one_enormous_line(self):
        path = self.folder / "big.jsonl"
        path.write_text(json.dumps({"prompt": "word " * 1_000_000}) + "\n" + json.dumps({"prompt": "Hi", "text": "Hi", "completion": " you"}) + "\n")
        for verb in ("generate", "score", "run"):
            self.colony(verb, path, "--max-tokens", 2, status=1)

    def test_signals_end_with_130(self):
        path = self.write("g.jsonl", [{"prompt": f"Once upon a time {i}"} for i in range(500)])
        for number in (signal.SIGINT, signal.SIGTERM):
            for wait in (0, 1.5):
                process = self.start("generate", path, "--json", stdout=subprocess.DEVNULL)
                # As soon as it runs: at once would be before its first line.
                while not int(re.search(r"SigCgt:\s*(\w+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1], 16) >> (number - 1) & 1:
                    time.sleep(0.001)
                time.sleep(wait)
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 130, err)


if __name__ == "__main__":
    harness.main()
