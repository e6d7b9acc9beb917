#!/usr/bin/env python3
"""Makes seeded random LoRA adapters for `colony bench adapters`.

  make_bench_adapters.py peft --out DIR --count 16 --rank 8 --layers L --hidden C --intermediate F
                              --heads H --kv-heads G --head-dim D
      PEFT folders DIR/adapter-0 … (adapter_config.json, adapter_model.safetensors in f32), all seven
      projections of every layer, lora_alpha 16. Standard library only.
  make_bench_adapters.py gguf --out DIR --heads H --kv-heads G --arch llama
      DIR/adapter-i.gguf beside each folder, as llama.cpp's convert_lora_to_gguf.py writes them; needs
      the packages gguf and numpy.

A is uniform in ±1/sqrt(in), as PEFT begins; B is uniform in ±0.01, so that the change stays near a hundredth of the
product and the text sane. Folders and files that are there are kept.
"""
import argparse
import array
import json
import math
import os
import pathlib
import random
import shutil
import struct

POOL = 1 << 20  # uniform numbers in [-1, 1), of which a matrix takes a stretch that begins anywhere


def shapes(args):
    q, kv = args.heads * args.head_dim, args.kv_heads * args.head_dim
    return {"self_attn.q_proj": (args.hidden, q), "self_attn.k_proj": (args.hidden, kv),
            "self_attn.v_proj": (args.hidden, kv), "self_attn.o_proj": (q, args.hidden),
            "mlp.gate_proj": (args.hidden, args.intermediate), "mlp.up_proj": (args.hidden, args.intermediate),
            "mlp.down_proj": (args.intermediate, args.hidden)}


def numbers(rng, pool, size, scale):
    out = array.array("f")
    while len(out) < size:
        start = rng.randrange(POOL)
        out.extend(pool[start:start + size - len(out)])
    return array.array("f", (v * scale for v in out))


def make_peft(args):
    dice = random.Random(20260731)
    pool = array.array("f", (dice.uniform(-1, 1) for _ in range(POOL)))
    args.out.mkdir(parents=True, exist_ok=True)
    for index in range(args.count):
        folder = args.out / f"adapter-{index}"
        if folder.exists():
            continue
        rng = random.Random(index)
        header, data, at = {}, [], 0
        for layer in range(args.layers):
            for module, (n_in, n_out) in shapes(args).items():
                name = f"base_model.model.model.layers.{layer}.{module}"
                for part, shape, scale in (("lora_A", [args.rank, n_in], 1 / math.sqrt(n_in)), ("lora_B", [n_out, args.rank], 0.01)):
                    values = numbers(rng, pool, shape[0] * shape[1], scale).tobytes()
                    header[f"{name}.{part}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(values)]}
                    data.append(values)
                    at += len(values)
        part = pathlib.Path(str(folder) + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        words = json.dumps(header).encode()
        words += b" " * (-len(words) % 8)
        with open(part / "adapter_model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(words)) + words)
            file.writelines(data)
        (part / "adapter_config.json").write_text(json.dumps({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None, "r": args.rank, "lora_alpha": 16,
            "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True, "use_rslora": False, "use_dora": False,
            "modules_to_save": None, "target_modules": sorted(m.split(".")[1] for m in shapes(args))}, indent=1))
        os.rename(part, folder)


GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def make_gguf(args):
    import gguf
    import numpy as np

    def permute(b, heads):
        # GGUF's llama keeps the halves of a head's rotation interleaved; A is not touched by that, rows of B are.
        return b.reshape(heads, 2, b.shape[0] // heads // 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)

    for folder in sorted(p for p in args.out.glob("adapter-*") if p.is_dir() and p.suffix == ""):
        out = pathlib.Path(str(folder) + ".gguf")
        if out.exists():
            continue
        raw = (folder / "adapter_model.safetensors").read_bytes()
        size = struct.unpack("<Q", raw[:8])[0]
        part = str(out) + ".part"
        writer = gguf.GGUFWriter(part, args.arch)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(json.loads((folder / "adapter_config.json").read_text())["lora_alpha"]))
        for name, entry in json.loads(raw[8:8 + size]).items():
            begin, end = entry["data_offsets"]
            values = np.frombuffer(raw[8 + size + begin:8 + size + end], dtype="<f4").reshape(entry["shape"])
            words = name.split(".")
            module, kind = ".".join(words[5:7]), words[7]
            if kind == "lora_B" and module == "self_attn.q_proj":
                values = permute(values, args.heads)
            if kind == "lora_B" and module == "self_attn.k_proj":
                values = permute(values, args.kv_heads)
            writer.add_tensor(f"blk.{words[4]}.{GGUF_NAMES[module]}.weight.{kind.lower()}", np.ascontiguousarray(values))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(part, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    forms = parser.add_subparsers(dest="form", required=True)
    form = forms.add_parser("peft")
    for word in ("count", "rank", "layers", "hidden", "intermediate", "heads", "kv-heads", "head-dim"):
        form.add_argument(f"--{word}", type=int, required=True)
    form.add_argument("--out", type=pathlib.Path, required=True)
    form = forms.add_parser("gguf")
    for word in ("heads", "kv-heads"):
        form.add_argument(f"--{word}", type=int, required=True)
    form.add_argument("--arch", required=True)
    form.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    (make_peft if args.form == "peft" else make_gguf)(args)


if __name__ == "__main__":
    main()
