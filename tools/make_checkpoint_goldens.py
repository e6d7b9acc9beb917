#!/usr/bin/env python3
"""Makes tests/goldens/checkpoints: tiny random checkpoints of every family with Hugging Face's own logits.

Needs torch, transformers, safetensors, gguf, numpy. Seeded; run from the repository's root:
    python3 tools/make_checkpoint_goldens.py
Each folder holds what save_pretrained writes, expected.f32 (eager f32 logits [B, T, V]) and
expected.json. Sequences are longer than max_position_embeddings where the rope is scaled, so that
the scaling shows. llama_gguf.gguf is llama_default again as GGUF (q and k permuted, Q8_0 matrices),
with its logits after dequantising.
"""
import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from made_by import write_made_by

OUT = pathlib.Path("tests/goldens/checkpoints")
BASE = dict(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
            attn_implementation="eager", tie_word_embeddings=False)


def scaled(**kind):
    return dict(max_position_embeddings=16, rope_parameters=dict(rope_theta=10000.0, **kind))


VARIANTS = {
    "llama_default": {},
    "llama_tied_bias_headdim": dict(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, head_dim=12,
                                    num_key_value_heads=1, hidden_size=36),
    "llama_rope_linear": scaled(rope_type="linear", factor=4.0),
    "llama_rope_dynamic": scaled(rope_type="dynamic", factor=2.0),
    "llama_rope_llama3": dict(max_position_embeddings=64, rope_parameters=dict(
        rope_theta=10000.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16)),
    "llama_rope_yarn": dict(max_position_embeddings=64, rope_parameters=dict(
        rope_theta=10000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "llama_sharded": {},
    "llama_bf16": {},
    # Windows shorter than the sequences; a head size that is not hidden / heads.
    "qwen3_default": dict(head_dim=12, tie_word_embeddings=True),
    "qwen3_window": dict(head_dim=8, num_hidden_layers=3, use_sliding_window=True, sliding_window=5, max_window_layers=1, attention_bias=True),
    "gemma3_default": dict(head_dim=12, num_key_value_heads=1, num_hidden_layers=3, sliding_window=6, query_pre_attn_scalar=20, tie_word_embeddings=True,
                           layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
    "gemma3_rope": dict(head_dim=8, num_hidden_layers=2, sliding_window=9, query_pre_attn_scalar=8, tie_word_embeddings=False, max_position_embeddings=16,
                        layer_types=["full_attention", "sliding_attention"],
                        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                                             sliding_attention=dict(rope_type="default", rope_theta=5e3))),
}
FAMILIES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM), "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM)}


def write_expected(model, folder, seed, tokens=24):
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(3, 96, (2, tokens), generator=generator)
    with torch.no_grad():
        logits = model(ids).logits.float()
        greedy = ids[:1, :12]
        output = model.generate(greedy, attention_mask=torch.ones_like(greedy), max_new_tokens=24, do_sample=False,
                                eos_token_id=None, pad_token_id=0)
    (folder / "expected.f32").write_bytes(logits.numpy().astype("<f4").tobytes())
    (folder / "expected.json").write_text(json.dumps({
        "input_ids": ids.tolist(), "shape": list(logits.shape), "greedy_from_first12": output[0].tolist(),
        "transformers": transformers.__version__, "torch": torch.__version__, "attn": "eager", "dtype": "float32"}) + "\n")
    return logits


def lively(model, seed):
    """Random weights with enough spread that every part shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                # Gemma multiplies by 1 + w.
                parameter.copy_((0 if model.config.model_type.startswith("gemma") else 1) + 0.1 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * (1.0 / parameter.shape[-1] ** 0.5 if "embed" not in name else 1.0))


def permute(w, heads):
    """HF's rows of a head to GGUF's: i -> 2i, i + d/2 -> 2i + 1."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(folder):
    weights = {k: v.float().numpy() for k, v in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    path = OUT / "llama_gguf.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    parts = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    seen = {}
    for name, w in weights.items():
        if name.startswith("model.layers."):
            _, _, layer, part = name.split(".", 3)
            part, kind = part.rsplit(".", 1)
            new = f"blk.{layer}.{parts[part]}.{kind}"
        else:
            new = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                   "lm_head.weight": "output.weight"}[name]
        if w.ndim == 2:
            stored = w
            if "attn_q" in new:
                stored = permute(w, config["num_attention_heads"])
            if "attn_k" in new:
                stored = permute(w, config["num_key_value_heads"])
            blocks = gguf.quants.quantize(np.ascontiguousarray(stored), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(new, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
            seen[name] = torch.from_numpy(gguf.quants.dequantize(
                gguf.quants.quantize(np.ascontiguousarray(w), gguf.GGMLQuantizationType.Q8_0),
                gguf.GGMLQuantizationType.Q8_0).reshape(w.shape).copy())
        else:
            writer.add_tensor(new, w)
            seen[name] = torch.from_numpy(w.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = LlamaForCausalLM(LlamaConfig(**BASE)).eval()
    model.load_state_dict(seen)
    target = OUT / "gguf_expected"
    target.mkdir()
    write_expected(model, target, 77)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    torch.set_num_threads(1)
    for seed, (name, changes) in enumerate(VARIANTS.items()):
        config, family = FAMILIES[name.split("_")[0]]
        model = family(config(**{**BASE, **changes})).eval()
        lively(model, seed)
        folder = OUT / name
        if name == "llama_bf16":
            model.to(torch.bfloat16).save_pretrained(folder)
            # Loaded anew: casting back would keep inverse frequencies that went through bf16.
            model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        elif name == "llama_sharded":
            model.save_pretrained(folder, max_shard_size="20KB")
        else:
            model.save_pretrained(folder)
        write_expected(model, folder, seed)
    write_gguf(OUT / "llama_default")
    write_made_by(OUT, "make_checkpoint_goldens.py", [transformers, torch], "position in VARIANTS")


if __name__ == "__main__":
    main()
