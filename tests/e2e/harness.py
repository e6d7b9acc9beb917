"""What the end-to-end tests share: the program, a fresh home, JSON lines in and out."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLONY = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build/release/colony"


def need_starter():
    done = subprocess.run([COLONY, "show", "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"not run: {done.stderr.strip()}")
        sys.exit(77)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="colony-e2e-"))
        self.home = self.folder / "home"
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def colony(self, *words, stdin="", status=0, env=None):
        """Runs it; (standard output, standard error). A death by signal is never accepted."""
        done = subprocess.run([COLONY, *map(str, words)], input=stdin, capture_output=True, text=True, timeout=500, cwd=ROOT,
                              env={**os.environ, "COLONY_HOME": str(self.home), **(env or {})})
        self.assertGreaterEqual(done.returncode, 0, f"{words}: died of signal {-done.returncode}\n{done.stderr}")
        if status is not None:
            self.assertEqual(done.returncode, status, f"{words}\n{done.stdout}\n{done.stderr}")
        return done.stdout, done.stderr

    def lines(self, *words, status=0, stdin="", env=None):
        out, err = self.colony(*words, stdin=stdin, status=status, env=env)
        return [json.loads(line) for line in out.splitlines()]

    def write(self, name, rows):
        path = self.folder / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path


def main():
    need_starter()
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)  # further words: single tests
