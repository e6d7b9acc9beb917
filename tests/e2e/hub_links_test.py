"""A cache on a file system without symbolic links: symlink() is taken away from the program (LD_PRELOAD)."""
import json
import pathlib
import shutil
import subprocess
import sys
import unittest

from harness import ROOT, Case

SOURCE = """#include <errno.h>
int symlink(const char* a, const char* b) { (void)a; (void)b; errno = EPERM; return -1; }
int symlinkat(const char* a, int f, const char* b) { (void)a; (void)f; (void)b; errno = EPERM; return -1; }
"""


class Links(Case):
    def setUp(self):
        super().setUp()
        (self.folder / "nosym.c").write_text(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.folder / "nosym.so", self.folder / "nosym.c"], check=True)
        server = subprocess.Popen([sys.executable, ROOT / "src/net/hub_test_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.wait)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stdin.close)
        self.port = server.stdout.readline().split()[0]
        self.cache = self.folder / "hub"
        self.env = {"HF_ENDPOINT": f"http://127.0.0.1:{self.port}", "HF_HUB_CACHE": str(self.cache), "LD_PRELOAD": str(self.folder / "nosym.so")}

    def snapshot(self, name):
        out, err = self.colony("pull", name, env=self.env)
        return pathlib.Path(out.strip())

    def gets(self):
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/log") as log:
            return sum(x["method"] == "GET" and "/api/" not in x["path"] for x in map(json.loads, log.read().splitlines()))

    def test_files_go_into_the_snapshot(self):
        for name, files in {"ok/model": {"config.json", "sub/tokenizer.json", "model.safetensors"}, "ok/same": {"config.json", "sub/config.json", "model.safetensors"}}.items():
            at = self.snapshot(name)
            self.assertEqual({str(p.relative_to(at)) for p in at.rglob("*") if p.is_file()}, files)
            self.assertFalse(any(p.is_symlink() for p in at.rglob("*")))
            self.assertEqual(list((at.parents[1] / "blobs").iterdir()), [], "no content twice")
            before = self.gets()
            self.assertEqual(self.snapshot(name), at)
            self.assertEqual(self.gets(), before, "nothing is fetched again")
        models = self.lines("ls", "--json", env=self.env)
        self.assertEqual([(m["model"], m["revision"], m["files"]) for m in models], [("ok/model", "main", 3), ("ok/same", "main", 3)])
        self.assertEqual(models[0]["bytes"], 300_000 + 23 + 18)

    def test_a_pull_that_broke_off_goes_on(self):
        at = self.snapshot("ok/drop")  # breaks off twice
        self.assertEqual((at / "model.safetensors").stat().st_size, 300_000)
        (at / "config.json").unlink()
        before = self.gets()
        self.snapshot("ok/drop")
        self.assertEqual(self.gets(), before + 1, "the one file that is gone")

    def test_a_family_that_cannot_run_is_said_before_its_weights(self):
        out, err = self.colony("pull", "ok/bert", status=1, env=self.env)
        self.assertIn("bert", err)
        self.assertIn("--force", err)
        out, err = self.colony("pull", "ok/falcongguf", status=1, env=self.env)
        self.assertIn("falcon", err)
        out, err = self.colony("pull", "ok/bert", "--force", env=self.env)
        self.assertTrue((pathlib.Path(out.strip()) / "model.safetensors").exists())
        out, err = self.colony("doctor", "--model", "ok/bert", status=1, env={**self.env, "LD_PRELOAD": ""})
        self.assertIn("model_type", out)


if __name__ == "__main__":
    if shutil.which("cc") is None:
        print("not run: no C compiler (cc)")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=1)
