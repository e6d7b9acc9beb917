#include "model/lora.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/log.h"
#include "model/gguf.h"
#include "model/safetensors.h"
#include "model/transformer.h"

namespace colony::model {
namespace {

using tensor::LoraPart;
using tensor::LoraType;
using tensor::LoraUpdate;

// The products of a layer and the modules whose outputs they stack, in order.
struct Product {
  LoraUpdate LayerUpdates::*update;
  std::vector<std::string> modules;
};
const std::array<Product, 4>& products() {
  static const std::array<Product, 4> all = {
      Product{&LayerUpdates::qkv, {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
      Product{&LayerUpdates::o, {"self_attn.o_proj"}},
      Product{&LayerUpdates::gate_up, {"mlp.gate_proj", "mlp.up_proj"}},
      Product{&LayerUpdates::down, {"mlp.down_proj"}}};
  return all;
}

LoraType type_beside(const Transformer& base) {
  const bool wide = base.dtype() == tensor::WeightType::kF32 || base.dtype() == tensor::WeightType::kBf16;
  return wide ? LoraType::kF32 : LoraType::kInt8;
}

uint64_t aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

bool equals_embedding(const SafeTensor& tensor, const Transformer& base) {
  const ModelConfig& c = base.config();
  const auto width = static_cast<size_t>(c.hidden_size);
  std::vector<float> own(width), given(width);
  const DType type = plain_type(tensor.dtype);
  const auto bytes = static_cast<size_t>(block_shape(type).bytes);
  for (int32_t id = 0; id < c.vocab_size; ++id) {
    base.embedding_row(id, own);
    decode(type, tensor.data.data() + static_cast<size_t>(id) * width * bytes, given);
    if (own != given) return false;
  }
  return true;
}

// An adapter's file, its tensors found and checked.
struct Tensors {
  struct Module {
    const LoraModule* spec = nullptr;
    const BaseModule* base = nullptr;
    const SafeTensor *a = nullptr, *b = nullptr, *b_bias = nullptr, *magnitude = nullptr;
  };
  std::shared_ptr<const SafetensorsFile> file;
  std::map<std::string, BaseModule> base;
  std::map<std::string, Module> modules;            // by path
  const SafeTensor *saved_head = nullptr, *saved_embedding = nullptr;

  const Module* find(const std::string& path) const {
    const auto at = modules.find(path);
    return at == modules.end() ? nullptr : &at->second;
  }
};

std::string shape_text(const std::vector<uint64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Result<Tensors> open_tensors(const LoraSpec& spec, const Transformer& base) {
  Tensors t;
  ASSIGN_OR_RETURN(t.file, SafetensorsFile::open(spec.weights));
  const std::string& file = t.file->name();
  for (auto& module : base_modules(base.config())) t.base.emplace(module.path, module);
  std::map<std::string, std::pair<std::string, const SafeTensor*>> by_name;  // plain name -> (as spelt, tensor)
  for (const auto& [name, tensor] : t.file->tensors()) {
    if (!by_name.emplace(plain_tensor_name(name), std::pair(name, &tensor)).second) {
      return corrupt("{}: tensor {} is there twice under two spellings", file, plain_tensor_name(name));
    }
  }
  std::set<std::string> used;
  const auto take = [&](const std::string& name, std::vector<uint64_t> shape) -> Result<const SafeTensor*> {
    const auto at = by_name.find(name);
    if (at == by_name.end()) return static_cast<const SafeTensor*>(nullptr);
    const SafeTensor& tensor = *at->second.second;
    if (tensor.shape != shape) {
      return corrupt("{}: tensor {} has shape {}, expected {}; is it an adapter of another base model?", file,
                     at->second.first, shape_text(tensor.shape), shape_text(shape));
    }
    const DType type = plain_type(tensor.dtype);
    if (type != DType::kF32 && type != DType::kF16 && type != DType::kBf16) {
      return invalid("{}: tensor {} is {}, expected F32, F16 or BF16", file, at->second.first, tensor.dtype);
    }
    used.insert(name);
    return &tensor;
  };
  const auto need = [&](const std::string& name, std::vector<uint64_t> shape) -> Result<const SafeTensor*> {
    ASSIGN_OR_RETURN(const SafeTensor* const found, take(name, std::move(shape)));
    if (found == nullptr) return corrupt("{}: tensor {} is missing; the adapter's configuration names its module", file, name);
    return found;
  };
  std::vector<std::string> without;  // modules that keep the base's weights
  for (const LoraModule& module : spec.modules) {
    const auto at = t.base.find(module.path);
    if (at == t.base.end() || at->second.kind == BaseModule::Kind::kNorm) {
      return invalid("{}: module {} is none that can be adapted in this base", file, module.path);
    }
    const BaseModule& own = at->second;
    if (module.rank < 1 || module.rank > 4096) return invalid("{}: module {} has rank {}, expected 1 to 4096", file, module.path, module.rank);
    const auto rank = static_cast<uint64_t>(module.rank), out = static_cast<uint64_t>(own.outputs), in = static_cast<uint64_t>(own.inputs);
    Tensors::Module m{&module, &own, nullptr, nullptr, nullptr, nullptr};
    // PEFT begins with B = 0 and loads over it what the file has, so without B a module gives what the base gives.
    const bool embedding = own.kind == BaseModule::Kind::kEmbedding;
    if (!by_name.contains(module.path + (embedding ? ".lora_embedding_B" : ".lora_B.weight"))) {
      ASSIGN_OR_RETURN([[maybe_unused]] const SafeTensor* const a,
                       embedding ? take(module.path + ".lora_embedding_A", {rank, out}) : take(module.path + ".lora_A.weight", {rank, in}));
      without.push_back(module.path);
      continue;
    }
    if (embedding) {
      if (module.dora) return invalid("{}: DoRA on the embedding is not supported", file);
      ASSIGN_OR_RETURN(m.a, need(module.path + ".lora_embedding_A", {rank, out}));
      ASSIGN_OR_RETURN(m.b, need(module.path + ".lora_embedding_B", {in, rank}));
    } else {
      ASSIGN_OR_RETURN(m.a, need(module.path + ".lora_A.weight", {rank, in}));
      ASSIGN_OR_RETURN(m.b, need(module.path + ".lora_B.weight", {out, rank}));
      ASSIGN_OR_RETURN(m.b_bias, take(module.path + ".lora_B.bias", {out}));
      if (module.dora) {
        // Older PEFT wrote it with ".weight".
        ASSIGN_OR_RETURN(m.magnitude, take(module.path + ".lora_magnitude_vector.weight", {out}));
        if (m.magnitude == nullptr) {
          ASSIGN_OR_RETURN(m.magnitude, need(module.path + ".lora_magnitude_vector", {out}));
        }
      }
    }
    t.modules.emplace(module.path, m);
  }
  for (const std::string& path : spec.saved) {
    const auto at = t.base.find(path);
    const bool head = at != t.base.end() && at->second.kind == BaseModule::Kind::kHead;
    if (!head && (at == t.base.end() || at->second.kind != BaseModule::Kind::kEmbedding)) {
      return invalid("{}: modules_to_save holds {}; of whole modules only lm_head and embed_tokens are supported", file, path);
    }
    if (t.find(path) != nullptr) return invalid("{}: {} is both adapted and saved whole", file, path);
    auto& saved = head ? t.saved_head : t.saved_embedding;
    ASSIGN_OR_RETURN(saved, need(path + ".weight", {static_cast<uint64_t>(at->second.outputs), static_cast<uint64_t>(at->second.inputs)}));
  }
  // PEFT also saves the whole matrix of an embedding or head that it adapts ("auto"): the base's own, as
  // trained; where it differs from this base it is taken over, so that the result is PEFT's.
  for (const auto& [path, module] : t.modules) {
    if (module.base->kind == BaseModule::Kind::kLinear) continue;
    auto& saved = module.base->kind == BaseModule::Kind::kHead ? t.saved_head : t.saved_embedding;
    ASSIGN_OR_RETURN(saved, take(path + ".base_layer.weight", {static_cast<uint64_t>(module.base->outputs), static_cast<uint64_t>(module.base->inputs)}));
    const bool like_embedding = module.base->kind == BaseModule::Kind::kEmbedding || base.tied_head();
    if (saved != nullptr && like_embedding && equals_embedding(*saved, base)) saved = nullptr;
  }
  for (const auto& [name, found] : by_name) {
    if (used.contains(name)) continue;
    // lora_A.other.weight: the weights of an adapter that was loaded beside this one when it was saved.
    const bool foreign = [&, &wanted = name] {
      for (const char* part : {".lora_A.", ".lora_B."}) {
        const size_t at = wanted.rfind(part);
        if (at == std::string::npos) continue;
        const std::string rest = wanted.substr(at + std::strlen(part));
        return rest != "weight" && rest != "bias";
      }
      return false;
    }();
    if (!foreign) {
      return corrupt("{}: tensor {} belongs to no module that the adapter's configuration names", file, found.first);
    }
    log_warn("{}: tensor {} is of another adapter and not used", file, to_line(Json(found.first)));
  }
  if (t.modules.empty() && t.saved_head == nullptr && t.saved_embedding == nullptr) {
    return corrupt("{}: the adapter changes nothing{}", file, without.empty() ? "" : fmt::format(": no weights for {} and the other modules that its configuration names", without.front()));
  }
  if (!without.empty()) {
    log_warn("{}: no weights for {} of the {} modules that the adapter's configuration names, which stay as the base has them: {}{}", file,
             without.size(), spec.modules.size(), without.front(), without.size() > 1 ? ", …" : "");
  }
  return t;
}

// The numbers of a tensor. Fails kCorrupt when one is no finite number.
Result<std::vector<float>> numbers(const Tensors& t, const SafeTensor* tensor) {
  std::vector<float> values;
  if (tensor == nullptr) return values;
  uint64_t count = 1;
  for (const uint64_t size : tensor->shape) count *= size;
  values.resize(count);
  decode(plain_type(tensor->dtype), tensor->data.data(), values);
  for (const float x : values) {
    if (std::isfinite(x)) continue;
    for (const auto& [name, other] : t.file->tensors()) {
      if (&other == tensor) return corrupt("{}: tensor {} holds {}, expected finite numbers", t.file->name(), name, x);
    }
  }
  return values;
}

// An update's parts with sizes only: spans of zeros' lengths are not looked at by bytes_for().
struct Parts {
  struct Owned {
    std::vector<float> a, b, b_bias, gain;
  };
  int64_t in = 0;
  std::vector<LoraPart> parts;
  std::vector<const Tensors::Module*> modules;
};

// The parts of the update of modules `paths`, stacked in that order; empty when none is adapted.
Parts parts_of(const Tensors& t, const std::vector<std::string>& paths) {
  static const float kSome = 0;
  Parts p;
  int64_t first = 0;
  for (const std::string& path : paths) {
    const BaseModule& base = t.base.at(path);
    p.in = base.inputs;
    if (const Tensors::Module* module = t.find(path)) {
      LoraPart part;
      part.first_output = first;
      part.outputs = base.outputs;
      part.rank = module->spec->rank;
      part.scale = static_cast<float>(module->spec->scale);
      if (module->b_bias != nullptr) part.b_bias = {&kSome, 1};
      if (module->magnitude != nullptr) part.gain = {&kSome, 1};
      p.parts.push_back(part);
      p.modules.push_back(module);
    }
    first += base.outputs;
  }
  return p;
}

std::vector<std::string> layer_paths(int64_t layer, const Product& product) {
  std::vector<std::string> paths;
  for (const std::string& module : product.modules) paths.push_back(fmt::format("model.layers.{}.{}", layer, module));
  return paths;
}

uint64_t update_bytes(LoraType type, const Parts& p) {
  return p.parts.empty() ? 0 : aligned(LoraUpdate::bytes_for(type, p.in, p.parts));
}

// Bytes of the one block of memory, without a saved head.
uint64_t block_bytes(const Tensors& t, const Transformer& base) {
  const ModelConfig& c = base.config();
  const LoraType type = type_beside(base);
  uint64_t bytes = 0;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    for (const Product& product : products()) bytes += update_bytes(type, parts_of(t, layer_paths(layer, product)));
  }
  bytes += update_bytes(type, parts_of(t, {"lm_head"}));
  if (t.saved_embedding != nullptr) bytes += aligned(static_cast<uint64_t>(c.vocab_size * c.hidden_size) * 4);
  if (const auto* module = t.find("model.embed_tokens")) {
    bytes += aligned(static_cast<uint64_t>(c.vocab_size * module->spec->rank) * 4) + aligned(static_cast<uint64_t>(c.hidden_size * module->spec->rank) * 4);
  }
  return bytes;
}

uint64_t head_bytes(const Tensors& t, const Transformer& base) {
  const ModelConfig& c = base.config();
  return t.saved_head == nullptr ? 0 : tensor::PackedMatrix::bytes_for(base.head_type(), c.vocab_size, c.hidden_size);
}

// m / ‖W + s B A‖ for each output, as PEFT's DoraLinearLayer; W as the kernels see it, or `saved`.
std::vector<float> dora_gain(const Tensors::Module& m, std::span<const float> a, std::span<const float> b,
                             std::span<const float> magnitude, const Transformer& base, std::span<const float> saved,
                             tensor::ThreadPool& pool) {
  const int64_t in = m.base->inputs, out = m.base->outputs, rank = m.spec->rank;
  std::vector<float> gain(static_cast<size_t>(out));
  constexpr int64_t kBlock = 32;
  pool.run(static_cast<int>((out + kBlock - 1) / kBlock), [&](int block) {
    std::vector<float> w(static_cast<size_t>(in));
    for (int64_t o = block * kBlock; o < std::min(out, (block + 1) * kBlock); ++o) {
      if (saved.empty()) {
        base.weight_row(m.base->path, o, w);
      } else {
        std::copy_n(saved.begin() + o * in, in, w.begin());
      }
      double squares = 0;
      for (int64_t k = 0; k < in; ++k) {
        double update = 0;
        for (int64_t r = 0; r < rank; ++r) {
          update += static_cast<double>(b[static_cast<size_t>(o * rank + r)]) * static_cast<double>(a[static_cast<size_t>(r * in + k)]);
        }
        const double value = static_cast<double>(w[static_cast<size_t>(k)]) + m.spec->scale * update;
        squares += value * value;
      }
      gain[static_cast<size_t>(o)] = static_cast<float>(static_cast<double>(magnitude[static_cast<size_t>(o)]) / std::sqrt(squares));
    }
  });
  return gain;
}

}  // namespace

std::string plain_tensor_name(std::string name) {
  constexpr std::string_view kPrefix = "base_model.model.", kInfix = ".default";
  if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
  if (!name.starts_with("model.") && !name.starts_with("lm_head")) name.insert(0, "model.");
  if (const size_t at = name.rfind(kInfix); at != std::string::npos) {
    const size_t end = at + kInfix.size();
    if (end == name.size() || name[end] == '.') name.erase(at, kInfix.size());
  }
  return name;
}

std::vector<BaseModule> base_modules(const ModelConfig& c) {
  using Kind = BaseModule::Kind;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  std::vector<BaseModule> list = {{"model.embed_tokens", Kind::kEmbedding, c.vocab_size, c.hidden_size}};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    list.push_back({layer + "self_attn.q_proj", Kind::kLinear, q, c.hidden_size});
    list.push_back({layer + "self_attn.k_proj", Kind::kLinear, kv, c.hidden_size});
    list.push_back({layer + "self_attn.v_proj", Kind::kLinear, kv, c.hidden_size});
    list.push_back({layer + "self_attn.o_proj", Kind::kLinear, c.hidden_size, q});
    list.push_back({layer + "mlp.gate_proj", Kind::kLinear, c.intermediate_size, c.hidden_size});
    list.push_back({layer + "mlp.up_proj", Kind::kLinear, c.intermediate_size, c.hidden_size});
    list.push_back({layer + "mlp.down_proj", Kind::kLinear, c.hidden_size, c.intermediate_size});
    list.push_back({layer + "input_layernorm", Kind::kNorm, c.hidden_size, 1});
    list.push_back({layer + "post_attention_layernorm", Kind::kNorm, c.hidden_size, 1});
    if (c.post_norms) {
      list.push_back({layer + "pre_feedforward_layernorm", Kind::kNorm, c.hidden_size, 1});
      list.push_back({layer + "post_feedforward_layernorm", Kind::kNorm, c.hidden_size, 1});
    }
    if (c.qk_norm) {
      list.push_back({layer + "self_attn.q_norm", Kind::kNorm, c.head_dim, 1});
      list.push_back({layer + "self_attn.k_norm", Kind::kNorm, c.head_dim, 1});
    }
  }
  list.push_back({"model.norm", Kind::kNorm, c.hidden_size, 1});
  list.push_back({"lm_head", Kind::kHead, c.vocab_size, c.hidden_size});
  return list;
}

Result<uint64_t> Adapter::bytes_needed(const LoraSpec& spec, const Transformer& base) {
  ASSIGN_OR_RETURN(const Tensors t, open_tensors(spec, base));
  return block_bytes(t, base) + head_bytes(t, base);
}

Result<std::shared_ptr<const Adapter>> Adapter::load(const LoraSpec& spec, const Transformer& base, ByteLedger& ledger,
                                                     tensor::ThreadPool& pool) {
  ASSIGN_OR_RETURN(const Tensors t, open_tensors(spec, base));
  const ModelConfig& c = base.config();
  const LoraType type = type_beside(base);
  const uint64_t bytes = block_bytes(t, base);
  const std::shared_ptr<Adapter> adapter(new Adapter());
  ASSIGN_OR_RETURN(adapter->lease_, ledger.take("adapters", bytes + head_bytes(t, base)));
  if (bytes > 0) adapter->memory_ = tensor::Memory(bytes, false);
  std::byte* at = adapter->memory_.data();
  const auto take = [&](uint64_t size) {
    std::byte* const taken = at;
    at += aligned(size);
    CHECK(at <= adapter->memory_.data() + bytes, "an adapter fits into the bytes it asked for");
    return taken;
  };

  ASSIGN_OR_RETURN(const auto saved_head, numbers(t, t.saved_head));
  const auto pack = [&](const std::vector<std::string>& paths, std::span<const float> saved, LoraUpdate& into) -> Status {
    Parts p = parts_of(t, paths);
    if (p.parts.empty()) return {};
    std::vector<Parts::Owned> owned(p.parts.size());
    for (size_t i = 0; i < p.parts.size(); ++i) {
      const Tensors::Module& m = *p.modules[i];
      ASSIGN_OR_RETURN(owned[i].a, numbers(t, m.a));
      ASSIGN_OR_RETURN(owned[i].b, numbers(t, m.b));
      ASSIGN_OR_RETURN(owned[i].b_bias, numbers(t, m.b_bias));
      if (m.magnitude != nullptr) {
        ASSIGN_OR_RETURN(const auto magnitude, numbers(t, m.magnitude));
        owned[i].gain = dora_gain(m, owned[i].a, owned[i].b, magnitude, base, saved, pool);
        for (const float gain : owned[i].gain) {
          if (!std::isfinite(gain)) return corrupt("{}: module {}: a row of W + BA is all zero", t.file->name(), m.base->path);
        }
      }
      p.parts[i].a = owned[i].a;
      p.parts[i].b = owned[i].b;
      p.parts[i].b_bias = owned[i].b_bias;
      p.parts[i].gain = owned[i].gain;
    }
    const uint64_t size = LoraUpdate::bytes_for(type, p.in, p.parts);
    into = LoraUpdate::pack(type, p.in, p.parts, {take(size), size});
    return {};
  };
  adapter->layers_.resize(static_cast<size_t>(c.num_hidden_layers));
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    for (const Product& product : products()) {
      RETURN_IF_ERROR(pack(layer_paths(layer, product), {}, adapter->layers_[static_cast<size_t>(layer)].*product.update));
    }
  }
  RETURN_IF_ERROR(pack({"lm_head"}, saved_head, adapter->head_));
  if (t.saved_head != nullptr) {
    adapter->has_saved_head_ = true;
    adapter->saved_head_ = tensor::PackedMatrix::pack(
        base.head_type(), c.vocab_size, c.hidden_size,
        [&](int64_t row, std::span<float> out) { std::copy_n(saved_head.begin() + row * c.hidden_size, c.hidden_size, out.begin()); }, pool);
  }
  if (t.saved_embedding != nullptr) {
    ASSIGN_OR_RETURN(const auto values, numbers(t, t.saved_embedding));
    auto* to = reinterpret_cast<float*>(take(values.size() * 4));
    std::memcpy(to, values.data(), values.size() * 4);
    adapter->embedding_ = to;
  }
  if (const auto* module = t.find("model.embed_tokens")) {
    const int64_t rank = module->spec->rank;
    ASSIGN_OR_RETURN(const auto a, numbers(t, module->a));
    ASSIGN_OR_RETURN(const auto b, numbers(t, module->b));
    auto* a_to = reinterpret_cast<float*>(take(a.size() * 4));
    auto* b_to = reinterpret_cast<float*>(take(b.size() * 4));
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t v = 0; v < c.vocab_size; ++v) a_to[v * rank + r] = a[static_cast<size_t>(r * c.vocab_size + v)];
      for (int64_t n = 0; n < c.hidden_size; ++n) {
        b_to[r * c.hidden_size + n] = static_cast<float>(module->spec->scale) * b[static_cast<size_t>(n * rank + r)];
      }
    }
    adapter->embedding_a_ = a_to;
    adapter->embedding_b_ = b_to;
    adapter->embedding_rank_ = rank;
  }
  // The numbers are ours now; the file's pages are not needed.
  t.file->file()->release(t.file->file()->bytes());
  return std::shared_ptr<const Adapter>(adapter);
}

void Adapter::embed(int32_t id, std::span<float> row) const {
  const auto width = static_cast<int64_t>(row.size());
  if (embedding_ != nullptr) std::copy_n(embedding_ + id * width, width, row.begin());
  for (int64_t r = 0; r < embedding_rank_; ++r) {
    const float u = embedding_a_[id * embedding_rank_ + r];
    const float* b = embedding_b_ + r * width;
    for (int64_t n = 0; n < width; ++n) row[static_cast<size_t>(n)] += u * b[n];
  }
}

}  // namespace colony::model
