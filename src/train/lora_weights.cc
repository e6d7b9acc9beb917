#include "train/lora_weights.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

#include "base/rng.h"
#include "model/gguf.h"
#include "model/safetensors.h"

namespace colony::train {
namespace {

constexpr uint16_t kInitStream = 300;
constexpr const char* kBaseHash = "base_model_hash";  // in the file's metadata

// "model.layers.7.mlp.up_proj" -> 7.
int64_t layer_of(const std::string& path) {
  constexpr std::string_view kPrefix = "model.layers.";
  int64_t layer = -1;
  if (path.starts_with(kPrefix)) std::from_chars(path.data() + kPrefix.size(), path.data() + path.size(), layer);
  return layer;
}

std::string peft_name(const TrainedModule& m, const char* what) { return "base_model.model." + m.path + what; }

}  // namespace

Result<LoraWeights> LoraWeights::create(const model::ModelConfig& c, std::span<const model::LoraModule> modules, ByteLedger& ledger) {
  LoraWeights w;
  w.by_product_.resize(static_cast<size_t>(c.num_hidden_layers) * 4);
  w.lowest_layer_ = c.num_hidden_layers;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const std::vector<std::pair<std::string, std::pair<Product, int64_t>>> places = {
      {"self_attn.q_proj", {Product::kQkv, 0}},  {"self_attn.k_proj", {Product::kQkv, q}}, {"self_attn.v_proj", {Product::kQkv, q + kv}},
      {"self_attn.o_proj", {Product::kO, 0}},    {"mlp.gate_proj", {Product::kGateUp, 0}}, {"mlp.up_proj", {Product::kGateUp, c.intermediate_size}},
      {"mlp.down_proj", {Product::kDown, 0}}};
  const auto base = model::base_modules(c);
  size_t size = 0;
  for (const model::LoraModule& module : modules) {
    const auto own = std::find_if(base.begin(), base.end(), [&](const model::BaseModule& b) { return b.path == module.path; });
    const int64_t layer = layer_of(module.path);
    const auto place = std::find_if(places.begin(), places.end(), [&](const auto& p) { return module.path.ends_with("." + p.first); });
    if (own == base.end() || layer < 0 || place == places.end()) {
      return invalid("module {} cannot be trained; the linear modules of the layers can", module.path);
    }
    TrainedModule m;
    m.path = module.path;
    m.layer = layer;
    m.product = place->second.first;
    m.first_output = place->second.second;
    m.outputs = own->outputs;
    m.inputs = own->inputs;
    m.rank = module.rank;
    m.scale = module.scale;
    m.dora = module.dora;
    m.a = size;
    m.b = m.a + static_cast<size_t>(m.rank * m.inputs);
    m.m = m.b + static_cast<size_t>(m.rank * m.outputs);
    size = m.m + static_cast<size_t>(m.dora ? m.outputs : 0);
    w.by_product_[static_cast<size_t>(layer) * 4 + static_cast<size_t>(m.product)].push_back(w.modules_.size());
    w.lowest_layer_ = std::min(w.lowest_layer_, layer);
    w.modules_.push_back(std::move(m));
  }
  if (w.modules_.empty()) return invalid("no module is to be trained");
  ASSIGN_OR_RETURN(w.lease_, ledger.take("trainer", size * 2 * sizeof(float)));
  w.values_.assign(size, 0.0f);
  w.gradients_.assign(size, 0.0f);
  return w;
}

void LoraWeights::initialise(uint64_t seed) {
  for (size_t i = 0; i < modules_.size(); ++i) {
    const TrainedModule& m = modules_[i];
    const double bound = 1 / std::sqrt(static_cast<double>(m.inputs));
    const auto rows = a(m, values_);
    for (int64_t r = 0; r < m.rank; ++r) {
      RngStream rng(seed, static_cast<uint64_t>(r), static_cast<uint32_t>(i), kInitStream);
      for (int64_t k = 0; k < m.inputs; ++k) rows[static_cast<size_t>(r * m.inputs + k)] = static_cast<float>((2 * rng.uniform() - 1) * bound);
    }
    std::ranges::fill(b(m, values_), 0.0f);
  }
}

Status LoraWeights::read(const std::filesystem::path& path, const std::string& base) {
  ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::open(path));
  const auto made = file->metadata().find(kBaseHash);
  if (!base.empty() && made != file->metadata().end() && made->second != base) {
    return invalid("{}: trained over another base model (hash {}…, this one's is {}…)", file->name(), made->second.substr(0, 12), base.substr(0, 12));
  }
  std::map<std::string, std::pair<std::string, const model::SafeTensor*>> by_name;  // plain name -> (as spelt, tensor)
  for (const auto& [name, tensor] : file->tensors()) {
    if (!by_name.emplace(model::plain_tensor_name(name), std::pair(name, &tensor)).second) return corrupt("{}: tensor {} is there twice under two spellings", file->name(), name);
  }
  const auto take = [&](const std::string& name, std::vector<uint64_t> shape, std::vector<float>& out) -> Status {
    const auto at = by_name.find(name);
    if (at == by_name.end()) return corrupt("{}: tensor {} is missing", file->name(), name);
    const auto [spelt, tensor] = at->second;
    if (tensor->shape != shape) {
      return corrupt("{}: tensor {} has shape [{}], expected [{}]; is it an adapter of another base model?", file->name(), spelt, fmt::join(tensor->shape, ", "), fmt::join(shape, ", "));
    }
    const model::DType type = model::plain_type(tensor->dtype);
    if (type != model::DType::kF32 && type != model::DType::kF16 && type != model::DType::kBf16) {
      return invalid("{}: tensor {} is {}, expected F32, F16 or BF16", file->name(), spelt, tensor->dtype);
    }
    uint64_t count = 1;
    for (const uint64_t n : shape) count *= n;
    out.resize(count);
    model::decode(type, tensor->data.data(), out);
    for (const float x : out) {
      if (!std::isfinite(x)) return corrupt("{}: tensor {} holds {}, expected finite numbers", file->name(), spelt, x);
    }
    by_name.erase(at);
    return {};
  };
  std::vector<float> numbers;
  for (const TrainedModule& m : modules_) {
    const auto rank = static_cast<uint64_t>(m.rank), in = static_cast<uint64_t>(m.inputs), out = static_cast<uint64_t>(m.outputs);
    RETURN_IF_ERROR(take(m.path + ".lora_A.weight", {rank, in}, numbers));
    std::ranges::copy(numbers, a(m, values_).begin());
    RETURN_IF_ERROR(take(m.path + ".lora_B.weight", {out, rank}, numbers));
    const auto columns = b(m, values_);
    for (int64_t n = 0; n < m.outputs; ++n) {
      for (int64_t r = 0; r < m.rank; ++r) columns[static_cast<size_t>(r * m.outputs + n)] = numbers[static_cast<size_t>(n * m.rank + r)];
    }
    if (!m.dora) continue;
    // Older PEFT wrote it with ".weight".
    const std::string magnitudes = m.path + ".lora_magnitude_vector";
    RETURN_IF_ERROR(take(by_name.contains(magnitudes + ".weight") ? magnitudes + ".weight" : magnitudes, {out}, numbers));
    std::ranges::copy(numbers, magnitude(m, values_).begin());
  }
  if (!by_name.empty()) return corrupt("{}: tensor {} belongs to no module that is trained", file->name(), by_name.begin()->second.first);
  return {};
}

Status LoraWeights::write(const std::filesystem::path& path, const std::string& base) const {
  std::vector<model::TensorToWrite> tensors;
  std::vector<std::vector<float>> turned;
  turned.reserve(modules_.size());
  const auto bytes = [](std::span<const float> x) { return std::as_bytes(x); };
  const std::span<const float> all = values_;
  for (const TrainedModule& m : modules_) {
    const auto rank = static_cast<uint64_t>(m.rank), in = static_cast<uint64_t>(m.inputs), out = static_cast<uint64_t>(m.outputs);
    auto& rows = turned.emplace_back(static_cast<size_t>(m.rank * m.outputs));
    for (int64_t n = 0; n < m.outputs; ++n) {
      for (int64_t r = 0; r < m.rank; ++r) rows[static_cast<size_t>(n * m.rank + r)] = all[m.b + static_cast<size_t>(r * m.outputs + n)];
    }
    tensors.push_back({peft_name(m, ".lora_A.weight"), "F32", {rank, in}, bytes(all.subspan(m.a, static_cast<size_t>(m.rank * m.inputs)))});
    tensors.push_back({peft_name(m, ".lora_B.weight"), "F32", {out, rank}, bytes(rows)});
    if (m.dora) tensors.push_back({peft_name(m, ".lora_magnitude_vector"), "F32", {out}, bytes(all.subspan(m.m, static_cast<size_t>(m.outputs)))});
  }
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (!base.empty()) metadata[kBaseHash] = base;
  return model::write_safetensors(path, std::move(tensors), metadata);
}

}  // namespace colony::train
