// adapter_config.json as PEFT writes it: which modules an adapter changes, and how much.
//
// Source: PEFT tuners/lora/config.py, tuners_utils.py (check_target_module_exists), utils/other.py
// (get_pattern_key); hf_compat 4.1. A field of PEFT's that would change the numbers and is not implemented
// is refused by name, never ignored; a key that is none of PEFT's is left out with a warning, as PEFT does
// since 0.14 (PeftConfig.from_peft_type).
#pragma once
#include <filesystem>

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"
#include "model/lora.h"

namespace colony::engine {

// `folder` holds adapter_config.json and adapter_model.safetensors. Fails kNotFound, kCorrupt (no JSON),
// kInvalid (a wrong type, a variant that is not supported, no module of the base is targeted).
Result<model::LoraSpec> read_peft(const std::filesystem::path& folder, const model::ModelConfig& base);

// The same from the parsed configuration; `name` is the file, for messages. `weights` is left empty.
Result<model::LoraSpec> parse_peft(const Json& config, std::string_view name, const model::ModelConfig& base);

}  // namespace colony::engine
