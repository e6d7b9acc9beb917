#!/usr/bin/env python3
"""Makes tests/goldens/peft: adapters written by PEFT over our tiny checkpoints, with the logits they give.

Needs torch, transformers, peft. Seeded; run from the repository's root:
    python3 tools/make_peft_goldens.py
Each folder is what save_pretrained writes, with expected.f32 (f32 logits [B, T, V] for the input_ids of
the base's expected.json) and base.txt, the checkpoint's name. B matrices, magnitudes and copies are
filled with noise, so that every part of an adapter shows in the logits.
"""
import json
import pathlib
import shutil

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from made_by import write_made_by

CHECKPOINTS = pathlib.Path("tests/goldens/checkpoints")
OUT = pathlib.Path("tests/goldens/peft")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
VARIANTS = {
    "plain": ("llama_default", dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])),
    "all_linear_rslora": ("llama_default", dict(
        r=4, lora_alpha=8, target_modules="all-linear", use_rslora=True,
        rank_pattern={r"layers\.1\..*q_proj": 6, "mlp.down_proj": 2}, alpha_pattern={"layers.0.self_attn.k_proj": 32})),
    "dora": ("llama_tied_bias_headdim", dict(r=3, lora_alpha=6, target_modules=ALL, use_dora=True)),
    "dora_regex": ("llama_default", dict(r=4, lora_alpha=8, target_modules=r".*\.(o_proj|up_proj)", use_dora=True)),
    "modules_to_save": ("llama_default", dict(
        r=4, lora_alpha=8, target_modules=["q_proj"], layers_to_transform=[1], modules_to_save=["lm_head"])),
    "embed": ("llama_default", dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "o_proj"])),
    "lora_bias": ("llama_default", dict(
        r=5, lora_alpha=7, target_modules=ALL, lora_bias=True, exclude_modules=r".*layers\.0\.mlp\..*")),
    "head": ("llama_default", dict(r=2, lora_alpha=4, target_modules=["lm_head", "down_proj"])),
    "qwen3_all": ("qwen3_window", dict(r=3, lora_alpha=6, target_modules=ALL)),
    "gemma3_dora": ("gemma3_default", dict(r=3, lora_alpha=18, target_modules=["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"], use_dora=True)),
    "gemma3_embed": ("gemma3_rope", dict(r=3, lora_alpha=6, target_modules=["embed_tokens", "o_proj", "v_proj"])),
}


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for seed, (name, (base, options)) in enumerate(VARIANTS.items()):
        torch.manual_seed(100 + seed)
        model = AutoModelForCausalLM.from_pretrained(CHECKPOINTS / base, dtype=torch.float32, attn_implementation="eager")
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "lora_embedding_A" in key or "lora_B" in key:
                    value.copy_(0.3 * torch.randn_like(value))
                elif "lora_magnitude_vector" in key:
                    value.mul_(1 + 0.2 * torch.randn_like(value))
                elif "modules_to_save" in key:
                    value.add_(0.1 * torch.randn_like(value))
        folder = OUT / name
        model.save_pretrained(folder)
        ids = torch.tensor(json.loads((CHECKPOINTS / base / "expected.json").read_text())["input_ids"])
        with torch.no_grad():
            logits = model(ids).logits.float()
        (folder / "expected.f32").write_bytes(logits.numpy().astype("<f4").tobytes())
        (folder / "base.txt").write_text(base + "\n")
        (folder / "README.md").unlink(missing_ok=True)
    write_made_by(OUT, "make_peft_goldens.py", [peft, transformers, torch], "100 + position in VARIANTS")


if __name__ == "__main__":
    main()
