#!/usr/bin/env python3
"""Makes tests/goldens/train: short fine-tuning runs by PEFT and torch over our tiny checkpoints.

Needs torch, transformers, peft. Seeded; run from the repository's root:
    python3 tools/make_train_goldens.py
Each folder holds run.json (base, options, data, and of every step loss, gradient norm before clipping and
learning rate), init/ and final/ (adapters as save_pretrained writes them). Rows of a micro-batch have
different lengths and are padded here; label_mask_first[micro][row] leading labels are masked. The loss is
the sum over the accumulation group divided by its number of labels, as transformers' Trainer has it.
"""
import json
import pathlib
import shutil

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from made_by import write_made_by

CHECKPOINTS = pathlib.Path("tests/goldens/checkpoints")
OUT = pathlib.Path("tests/goldens/train")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RUNS = {
    "llama_lora": ("llama_default", dict(r=4, lora_alpha=8, target_modules=ALL)),
    "llama_bias_rslora": ("llama_tied_bias_headdim", dict(r=3, lora_alpha=6, target_modules=ALL, use_rslora=True)),
    "llama_dora": ("llama_tied_bias_headdim", dict(r=3, lora_alpha=6, target_modules=["q_proj", "o_proj", "up_proj"], use_dora=True)),
    "qwen3_lora": ("qwen3_window", dict(r=4, lora_alpha=8, target_modules=ALL)),
    "gemma3_lora": ("gemma3_default", dict(r=4, lora_alpha=8, target_modules=ALL)),
    "gemma3_dora": ("gemma3_rope", dict(r=3, lora_alpha=6, target_modules=["k_proj", "o_proj", "down_proj"], use_dora=True)),
}
STEPS, ACCUM, WARMUP, LR, CLIP, DECAY, BETAS, EPS = 10, 2, 2, 5e-3, 0.5, 0.01, (0.9, 0.999), 1e-8
LENGTHS, MASKS = [[23, 9], [5, 40]], [[3, 4], [0, 12]]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for seed, (name, (base, options)) in enumerate(RUNS.items()):
        torch.manual_seed(200 + seed)
        model = AutoModelForCausalLM.from_pretrained(CHECKPOINTS / base, dtype=torch.float32, attn_implementation="eager")
        vocab = model.config.vocab_size
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options)).train()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if "lora_B" in key:
                    value.copy_(0.05 * torch.randn_like(value))
        folder = OUT / name
        model.save_pretrained(folder / "init")
        trained = [p for p in model.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(trained, lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
        schedule = get_cosine_schedule_with_warmup(adam, WARMUP, STEPS)
        data, log = [], []
        for step in range(STEPS):
            micros = [[torch.randint(0, vocab, (n,)).tolist() for n in LENGTHS[m]] for m in range(ACCUM)]
            labels = [[[-100 if i < max(1, MASKS[m][r]) else t for i, t in enumerate(row)] for r, row in enumerate(micro)]
                      for m, micro in enumerate(micros)]
            items = sum(t != -100 for micro in labels for row in micro for t in row)
            total = 0.0
            for micro, own in zip(micros, labels):
                width = max(map(len, micro))
                ids = torch.tensor([row + [0] * (width - len(row)) for row in micro])
                mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in micro])
                want = torch.tensor([row + [-100] * (width - len(row)) for row in own])
                logits = model(input_ids=ids, attention_mask=mask).logits.float()
                loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, vocab), want[:, 1:].reshape(-1), ignore_index=-100, reduction="sum") / items
                loss.backward()
                total += loss.item()
            norm = torch.nn.utils.clip_grad_norm_(trained, CLIP).item()
            log.append(dict(step=step, loss=total, grad_norm=norm, lr=schedule.get_last_lr()[0], num_items=items))
            adam.step()
            schedule.step()
            adam.zero_grad()
            data += micros
        model.save_pretrained(folder / "final")
        for part in ("init", "final"):
            (folder / part / "README.md").unlink(missing_ok=True)
        (folder / "run.json").write_text(json.dumps(dict(base=base, steps=STEPS, accum=ACCUM, lr=LR, warmup=WARMUP, weight_decay=DECAY, betas=BETAS,
                                                         eps=EPS, clip=CLIP, label_mask_first=MASKS, data=data, log=log)) + "\n")
    write_made_by(OUT, "make_train_goldens.py", [peft, transformers, torch], "200 + position in RUNS")


if __name__ == "__main__":
    main()
