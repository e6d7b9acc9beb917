// The llama block: x += o(attn(norm(x))); x += down(silu(gate(norm(x))) * up(norm(x))), with what qwen3 and gemma3 add:
// norms on the heads of q and k, norms on what o and down give, gelu, windows (config.h).
// Equivalent in HF: modeling_llama.LlamaDecoderLayer (qwen3, gemma3), eager attention, f32 activations.
#include "model/transformer.h"

#include <cmath>

#include "base/check.h"
#include "base/log.h"
#include "base/digest.h"
#include "model/lora.h"
#include "model/packed_cache.h"
#include "model/rope_table.h"
#include "model/weights.h"
#include "tensor/attention.h"
#include "tensor/lora.h"
#include "tensor/memory.h"
#include "tensor/ops.h"

namespace colony::model {

using tensor::Activations;
using tensor::PackedMatrix;

namespace {
struct Layer {
  LayerNorms norms;
  PackedMatrix qkv, o, gate_up, down;                // q, k, v stacked; gate, up stacked
  std::vector<float> qkv_bias, o_bias, gate_up_bias, down_bias;  // empty without biases
};

// Rows that stand together and carry the same adapter.
struct AdapterRun {
  int64_t first = 0, rows = 0;
  const Adapter* adapter = nullptr;
};

void find_runs(std::span<const Adapter* const> adapters, std::vector<AdapterRun>& runs) {
  runs.clear();
  for (size_t r = 0; r < adapters.size(); ++r) {
    const auto row = static_cast<int64_t>(r);
    if (runs.empty() || runs.back().adapter != adapters[r]) runs.push_back({row, 0, adapters[r]});
    ++runs.back().rows;
  }
  std::erase_if(runs, [](const AdapterRun& run) { return run.adapter == nullptr; });
}
}  // namespace

struct Transformer::State {
  explicit State(Weights w)
      : weights(std::move(w)), rope(config(), config().rope), window_rope(config(), config().window_rope.value_or(config().rope)) {}
  const ModelConfig& config() const { return weights.config(); }
  Weights weights;
  RopeTable rope, window_rope;
  tensor::WeightType dtype = tensor::WeightType::kF32;
  WeightRef embedding;
  tensor::Memory packed;  // of all matrices, or
  std::shared_ptr<const MappedFile> kept;
  std::vector<Layer> layers;
  std::vector<float> final_norm;
  PackedMatrix head;
  bool tied_head = false;
  uint64_t bytes = 0;
  ByteLease lease;
};

struct Transformer::Workspace::State {
  std::vector<float> x, h, qkv, attended, gate_up, act, cos, sin, window_cos, window_sin, product;
  tensor::MatmulScratch matmul;
  std::vector<AdapterRun> runs;
  std::vector<tensor::LoraSegment> segments;
  tensor::LoraScratch lora;
  std::vector<float>& sized(std::vector<float>& buffer, int64_t size) {
    if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
    return buffer;
  }
};

Transformer::Workspace::Workspace() : state_(std::make_unique<State>()) {}
Transformer::Workspace::~Workspace() = default;
Transformer::Workspace::Workspace(Workspace&&) noexcept = default;
Transformer::Workspace& Transformer::Workspace::operator=(Workspace&&) noexcept = default;
uint64_t Transformer::Workspace::bytes() const {
  const State& s = *state_;
  uint64_t total = s.matmul.bytes();
  for (const auto* b : {&s.x, &s.h, &s.qkv, &s.attended, &s.gate_up, &s.act, &s.cos, &s.sin, &s.window_cos, &s.window_sin, &s.product, &s.lora.u}) {
    total += b->capacity() * sizeof(float);
  }
  return total + s.runs.capacity() * sizeof(AdapterRun) +
         (s.segments.capacity() + s.lora.blocks.capacity()) * sizeof(tensor::LoraSegment);
}

Transformer::Transformer() = default;
Transformer::~Transformer() = default;
const ModelConfig& Transformer::config() const { return state_->weights.config(); }
tensor::WeightType Transformer::dtype() const { return state_->dtype; }
tensor::KvType Transformer::default_kv_type() const {
  return state_->dtype == tensor::WeightType::kF32 ? tensor::KvType::kF32 : tensor::KvType::kBf16;
}
tensor::WeightType Transformer::head_type() const { return state_->head.type(); }
bool Transformer::tied_head() const { return state_->tied_head; }
uint64_t Transformer::weight_bytes() const { return state_->bytes; }
const std::string& Transformer::content_hash() const { return state_->weights.content_hash(); }
const GgufFile* Transformer::gguf() const { return state_->weights.gguf().get(); }

namespace {

// The head of a 4-bit model keeps 8 bits.
tensor::WeightType head_type_of(tensor::WeightType dtype) {
  return dtype == tensor::WeightType::kInt4 ? tensor::WeightType::kInt8 : dtype;
}

// Where all matrices of a model go, one behind the other.
class Packing {
 public:
  // `made`: as an earlier Packing of the same model left `memory`, or empty.
  Packing(std::span<std::byte> memory, std::span<const std::byte> made, tensor::ThreadPool& pool) : memory_(memory), made_(made), pool_(pool) {}

  // Several [n_i, k] tensors under each other as one matrix.
  PackedMatrix stack(const std::vector<WeightRef>& parts, tensor::WeightType dtype, Activations activations) {
    int64_t n = 0;
    for (const auto& part : parts) n += part.rows;
    const int64_t k = parts.front().columns;
    const uint64_t bytes = PackedMatrix::bytes_for(dtype, n, k), from = done_;
    done_ += bytes;
    if (!made_.empty()) return PackedMatrix::over(dtype, n, k, activations, made_.subspan(from, bytes));
    const auto row_of = [&parts](int64_t row, const auto& take) {
      for (const auto& part : parts) {
        if (row < part.rows) return take(part, row);
        row -= part.rows;
      }
      CHECK(false, "a row of the parts");
    };
    tensor::PackOptions options{.activations = activations, .memory = memory_.subspan(from, bytes)};
    options.stored = [&row_of](int64_t row, const tensor::StoredRow& out) {
      return row_of(row, [&out](const WeightRef& part, int64_t at) { return part.stored_row(at, out); });
    };
    return PackedMatrix::pack(
        dtype, n, k,
        [&row_of](int64_t row, std::span<float> out) {
          row_of(row, [&out](const WeightRef& part, int64_t at) {
            part.row(at, out);
            return true;
          });
        },
        pool_, options);
  }

 private:
  const std::span<std::byte> memory_;
  const std::span<const std::byte> made_;
  tensor::ThreadPool& pool_;
  uint64_t done_ = 0;
};

}  // namespace

// A model whose tensors are all found, of the right shape and type, and whose bytes are taken; none is read yet.
struct Transformer::Found {
  struct Parts {
    std::vector<WeightRef> qkv, o, gate_up, down;
  };
  std::unique_ptr<State> state;
  std::vector<Parts> parts;  // of each layer
  WeightRef head;
  uint64_t packed = 0;       // bytes of all matrices
};

Result<Transformer::Found> Transformer::find_all(const std::filesystem::path& path, tensor::WeightType dtype, ByteLedger& ledger) {
  ASSIGN_OR_RETURN(auto weights, Weights::open(path));
  Found found;
  found.state = std::make_unique<State>(std::move(weights));
  State& s = *found.state;
  s.dtype = dtype;
  const ModelConfig& c = s.weights.config();
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;

  const auto bytes_for = [&](int64_t n, int64_t k) { return PackedMatrix::bytes_for(s.dtype, n, k); };
  found.packed = static_cast<uint64_t>(c.num_hidden_layers) *
                              (bytes_for(q + 2 * kv, c.hidden_size) + bytes_for(c.hidden_size, q) +
                               bytes_for(2 * c.intermediate_size, c.hidden_size) + bytes_for(c.hidden_size, c.intermediate_size)) +
                          PackedMatrix::bytes_for(head_type_of(s.dtype), c.vocab_size, c.hidden_size);
  s.bytes = found.packed + static_cast<uint64_t>(c.num_hidden_layers) * LayerNorms::bytes(c) + static_cast<uint64_t>(c.hidden_size) * 4;
  ASSIGN_OR_RETURN(s.lease, ledger.take("weights", s.bytes));

  s.weights.warn_of_unread();
  ASSIGN_OR_RETURN(s.embedding, s.weights.find("model.embed_tokens.weight", c.vocab_size, c.hidden_size));
  ASSIGN_OR_RETURN(s.final_norm, s.weights.norm("model.norm.weight", c.hidden_size));
  // Everything is found and its shape checked before the first matrix is packed.
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    Found::Parts p;
    const auto add = [&](std::vector<WeightRef>& to, const char* name, int64_t n, int64_t k) -> Status {
      ASSIGN_OR_RETURN(auto ref, s.weights.find(prefix + name + ".weight", n, k));
      to.push_back(std::move(ref));
      return {};
    };
    RETURN_IF_ERROR(add(p.qkv, "self_attn.q_proj", q, c.hidden_size));
    RETURN_IF_ERROR(add(p.qkv, "self_attn.k_proj", kv, c.hidden_size));
    RETURN_IF_ERROR(add(p.qkv, "self_attn.v_proj", kv, c.hidden_size));
    RETURN_IF_ERROR(add(p.o, "self_attn.o_proj", c.hidden_size, q));
    RETURN_IF_ERROR(add(p.gate_up, "mlp.gate_proj", c.intermediate_size, c.hidden_size));
    RETURN_IF_ERROR(add(p.gate_up, "mlp.up_proj", c.intermediate_size, c.hidden_size));
    RETURN_IF_ERROR(add(p.down, "mlp.down_proj", c.hidden_size, c.intermediate_size));
    found.parts.push_back(std::move(p));
    Layer layer;
    ASSIGN_OR_RETURN(layer.norms, s.weights.layer_norms(i));
    ASSIGN_OR_RETURN(layer.qkv_bias, s.weights.biases({{prefix + "self_attn.q_proj", q}, {prefix + "self_attn.k_proj", kv}, {prefix + "self_attn.v_proj", kv}}));
    ASSIGN_OR_RETURN(layer.o_bias, s.weights.biases({{prefix + "self_attn.o_proj", c.hidden_size}}));
    ASSIGN_OR_RETURN(layer.gate_up_bias, s.weights.biases({{prefix + "mlp.gate_proj", c.intermediate_size}, {prefix + "mlp.up_proj", c.intermediate_size}}));
    ASSIGN_OR_RETURN(layer.down_bias, s.weights.biases({{prefix + "mlp.down_proj", c.hidden_size}}));
    s.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(found.head, s.weights.head());
  return Result<Found>(std::move(found));
}

Status Transformer::check(const std::filesystem::path& path, tensor::WeightType dtype, ByteLedger& ledger) {
  ASSIGN_OR_RETURN([[maybe_unused]] const auto found, find_all(path, dtype, ledger));
  return {};
}

Result<std::shared_ptr<const Transformer>> Transformer::load(const std::filesystem::path& path,
                                                             const Options& options, ByteLedger& ledger,
                                                             tensor::ThreadPool& pool) {
  ASSIGN_OR_RETURN(auto found, find_all(path, options.dtype, ledger));
  const auto& [state, parts, head, packed] = found;
  State& s = *state;
  // Of the same bytes packed in the same way: the hash looks at samples, so when the files were written counts too.
  Sha256 hash;
  hash.update(fmt::format("{} {} {} {}", tensor::kPackedLayout, tensor::weight_type_name(s.dtype), s.weights.content_hash(), s.weights.written()));
  const std::string key = hash.hex();
  if (options.packed != nullptr) s.kept = options.packed->find(key, packed);
  if (!s.kept) s.packed = tensor::Memory(packed);
  Packing packing({s.packed.data(), s.packed.bytes()}, s.kept ? s.kept->bytes().first(packed) : std::span<const std::byte>(), pool);
  for (size_t i = 0; i < parts.size(); ++i) {
    // Where 8-bit activations do least harm for what they spare. Mean KL from f32 on SmolLM2-135M: none of it
    // .0004, gate and up .0012, o too .0014, the head too .0019, down too .0030, q, k, v too .0045; o as well
    // takes the tiny checkpoints of our tests past their noise floor. int4 from its own Q4_1 file likewise:
    // gate and up .0013, o too .0018, all but the head .0052.
    s.layers[i].qkv = packing.stack(parts[i].qkv, s.dtype, Activations::kRow13);
    s.layers[i].o = packing.stack(parts[i].o, s.dtype, Activations::kRow13);
    s.layers[i].gate_up = packing.stack(parts[i].gate_up, s.dtype, Activations::kGroup8);
    s.layers[i].down = packing.stack(parts[i].down, s.dtype, Activations::kRow13);
  }
  s.tied_head = head.data.data() == s.embedding.data.data();
  s.head = packing.stack({head}, head_type_of(s.dtype), Activations::kRow13);
  if (options.packed != nullptr && !s.kept) options.packed->keep(key, {s.packed.data(), packed});
  s.weights.release();
  const std::shared_ptr<Transformer> model(new Transformer());
  model->state_ = std::move(found.state);
  return std::shared_ptr<const Transformer>(model);
}

void Transformer::embedding_row(int32_t id, std::span<float> out) const { state_->embedding.row(id, out); }

void Transformer::weight_row(const std::string& path, int64_t output, std::span<float> out) const {
  const ModelConfig& c = config();
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  constexpr std::string_view kLayers = "model.layers.";
  const size_t dot = path.find('.', kLayers.size());
  CHECK(path.starts_with(kLayers) && dot != std::string::npos, "the path of a module of a layer");
  const Layer& layer = state_->layers.at(std::stoul(path.substr(kLayers.size(), dot - kLayers.size())));
  const std::string_view name = std::string_view(path).substr(dot + 1);
  const auto from = [&](const PackedMatrix& matrix, int64_t first) { matrix.unpack_row(first + output, out); };
  if (name == "self_attn.q_proj") return from(layer.qkv, 0);
  if (name == "self_attn.k_proj") return from(layer.qkv, q);
  if (name == "self_attn.v_proj") return from(layer.qkv, q + kv);
  if (name == "self_attn.o_proj") return from(layer.o, 0);
  if (name == "mlp.gate_proj") return from(layer.gate_up, 0);
  if (name == "mlp.up_proj") return from(layer.gate_up, c.intermediate_size);
  if (name == "mlp.down_proj") return from(layer.down, 0);
  CHECK(false, "a linear module of a layer");
}

void Transformer::forward(const StepRows& rows, const KvCache& kv, std::span<float> hidden, Workspace& work,
                          tensor::ThreadPool& pool) const {
  const State& s = *state_;
  const ModelConfig& c = config();
  Workspace::State& w = *work.state_;
  const auto t = static_cast<int64_t>(rows.ids.size());
  CHECK(t > 0 && rows.where.size() == rows.ids.size() &&
            static_cast<int64_t>(hidden.size()) == t * c.hidden_size &&
            (rows.lengths.empty() || rows.lengths.size() == rows.ids.size()) &&
            (rows.adapters.empty() || rows.adapters.size() == rows.ids.size()),
        "forward's rows");
  find_runs(rows.adapters, w.runs);
  const int64_t q = c.num_attention_heads * c.head_dim, kvd = c.num_key_value_heads * c.head_dim;
  const int64_t qkv_width = q + 2 * kvd;
  const auto view = [&](std::vector<float>& buffer, int64_t size) {
    return std::span<float>(w.sized(buffer, size)).first(static_cast<size_t>(size));
  };
  const auto x = view(w.x, t * c.hidden_size), h = view(w.h, t * c.hidden_size);
  const auto qkv = view(w.qkv, t * qkv_width), attended = view(w.attended, t * q);
  const auto gate_up = view(w.gate_up, t * 2 * c.intermediate_size), act = view(w.act, t * c.intermediate_size);
  const int half = s.rope.half();
  const auto cos = view(w.cos, t * half), sin = view(w.sin, t * half);
  const int window_half = c.window_rope ? s.window_rope.half() : 0;
  const auto window_cos = view(w.window_cos, t * window_half), window_sin = view(w.window_sin, t * window_half);

  for (int64_t r = 0; r < t; ++r) {
    const auto at = static_cast<size_t>(r);
    CHECK(rows.ids[at] >= 0 && rows.ids[at] < c.vocab_size, "ids are checked before they come here");
    s.embedding.row(rows.ids[at], x.subspan(at * static_cast<size_t>(c.hidden_size), static_cast<size_t>(c.hidden_size)));
    if (!rows.adapters.empty() && rows.adapters[at] != nullptr) {
      rows.adapters[at]->embed(rows.ids[at], x.subspan(at * static_cast<size_t>(c.hidden_size), static_cast<size_t>(c.hidden_size)));
    }
    const int64_t position = rows.where[at].position;
    s.rope.angles(position, rows.lengths.empty() ? position + 1 : rows.lengths[at],
                  cos.subspan(at * static_cast<size_t>(half), static_cast<size_t>(half)),
                  sin.subspan(at * static_cast<size_t>(half), static_cast<size_t>(half)));
    if (window_half > 0) {
      const auto size = static_cast<size_t>(window_half);
      s.window_rope.angles(position, position + 1, window_cos.subspan(at * size, size), window_sin.subspan(at * size, size));
    }
  }
  if (c.embedding_scale != 1) tensor::scale_in_place(x, static_cast<float>(c.embedding_scale));
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const auto heads = static_cast<int>(c.num_attention_heads), kv_heads = static_cast<int>(c.num_key_value_heads);
  const auto head_dim = static_cast<int>(c.head_dim);
  // Adds the adapters' updates of one product to its outputs y; of those with or without gains only.
  enum class Which : uint8_t { kAll, kGains, kPlain };
  const auto update = [&](int64_t layer, tensor::LoraUpdate LayerUpdates::*of, std::span<const float> in, std::span<float> y,
                          std::span<const float> bias, Which which) {
    if (w.runs.empty()) return false;
    w.segments.clear();
    for (const AdapterRun& run : w.runs) {
      const tensor::LoraUpdate& own = run.adapter->layer(layer).*of;
      if (own.empty() || (which != Which::kAll && own.has_gain() != (which == Which::kGains))) continue;
      w.segments.push_back({run.first, run.rows, &own});
    }
    if (w.segments.empty()) return false;
    if (y.empty()) return true;  // only asked whether there are any
    tensor::lora({in, static_cast<int64_t>(in.size()) / t, y, static_cast<int64_t>(y.size()) / t, bias}, w.segments, pool, w.lora);
    return true;
  };
  // x += the product. A gain scales the product alone, so then it must stand apart first; whether it does
  // changes no bit of the other rows.
  const auto add_product = [&](int64_t layer, tensor::LoraUpdate LayerUpdates::*of, std::span<const float> in,
                               const PackedMatrix& matrix, std::span<const float> bias, std::span<const float> post_norm) {
    if (!post_norm.empty()) {
      const auto product = view(w.product, t * c.hidden_size);
      tensor::matmul({.x = in, .rows = t, .y = product, .bias = bias}, matrix, pool, w.matmul);
      update(layer, of, in, product, bias, Which::kAll);
      tensor::rms_norm(product, post_norm, eps, product, pool);
      tensor::add_in_place(x, product, pool);
      return;
    }
    if (update(layer, of, in, {}, bias, Which::kGains)) {
      const auto product = view(w.product, t * c.hidden_size);
      tensor::matmul({.x = in, .rows = t, .y = product, .bias = bias}, matrix, pool, w.matmul);
      update(layer, of, in, product, bias, Which::kGains);
      tensor::add_in_place(x, product, pool);
    } else {
      tensor::matmul({.x = in, .rows = t, .y = x, .bias = bias, .accumulate = true}, matrix, pool, w.matmul);
    }
    update(layer, of, in, x, bias, Which::kPlain);
  };
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const Layer& layer = s.layers[static_cast<size_t>(i)];
    const tensor::KvView cache = kv.layer(i);
    tensor::rms_norm(x, layer.norms.input, eps, h, pool);
    tensor::matmul({.x = h, .rows = t, .y = qkv, .bias = layer.qkv_bias}, layer.qkv, pool, w.matmul);
    update(i, &LayerUpdates::qkv, h, qkv, layer.qkv_bias, Which::kAll);
    if (c.qk_norm) {
      tensor::head_rms_norm(qkv, t, qkv_width, heads, layer.norms.q, eps, pool);
      tensor::head_rms_norm(qkv.subspan(static_cast<size_t>(q)), t, qkv_width, kv_heads, layer.norms.k, eps, pool);
    }
    // q and k stand side by side, so one call rotates both.
    const bool windowed = c.has_window_rope(i);
    tensor::rope(qkv, qkv_width, heads + kv_heads, head_dim, windowed ? window_cos : cos, windowed ? window_sin : sin, windowed ? window_half : half, pool);
    tensor::kv_store(cache, rows.where, qkv.data() + q, qkv.data() + q + kvd, qkv_width, pool);
    tensor::attention({.q = qkv.data(),
                       .q_stride = qkv_width,
                       .heads = heads,
                       .scale = static_cast<float>(c.attention_scale),
                       .window = c.window(i),
                       .out = attended.data()},
                      cache, rows.where, pool);
    add_product(i, &LayerUpdates::o, attended, layer.o, layer.o_bias, layer.norms.attention_post);
    tensor::rms_norm(x, layer.norms.middle, eps, h, pool);
    tensor::matmul({.x = h, .rows = t, .y = gate_up, .bias = layer.gate_up_bias}, layer.gate_up, pool, w.matmul);
    update(i, &LayerUpdates::gate_up, h, gate_up, layer.gate_up_bias, Which::kAll);
    c.gelu ? tensor::gelu_mul(gate_up, t, c.intermediate_size, act, pool) : tensor::silu_mul(gate_up, t, c.intermediate_size, act, pool);
    add_product(i, &LayerUpdates::down, act, layer.down, layer.down_bias, layer.norms.ffn_post);
  }
  tensor::rms_norm(x, s.final_norm, eps, hidden, pool);
}

void Transformer::head(std::span<const float> hidden, int64_t rows, std::span<float> logits, Workspace& work,
                       tensor::ThreadPool& pool, std::span<const Adapter* const> adapters) const {
  const State& s = *state_;
  Workspace::State& w = *work.state_;
  const int64_t width = config().hidden_size, vocab = config().vocab_size;
  CHECK(adapters.empty() || static_cast<int64_t>(adapters.size()) == rows, "head's adapters");
  // Rows with a head of their own (modules_to_save) are computed apart.
  const auto matrix_of = [&](int64_t row) {
    const Adapter* adapter = adapters.empty() ? nullptr : adapters[static_cast<size_t>(row)];
    return adapter != nullptr && adapter->saved_head() != nullptr ? adapter->saved_head() : &s.head;
  };
  for (int64_t from = 0, to = 0; from < rows; from = to) {
    const PackedMatrix* matrix = matrix_of(from);
    to = from + 1;
    if (adapters.empty()) to = rows;
    while (to < rows && matrix_of(to) == matrix) ++to;
    tensor::matmul({.x = hidden.subspan(static_cast<size_t>(from * width), static_cast<size_t>((to - from) * width)),
                    .rows = to - from,
                    .y = logits.subspan(static_cast<size_t>(from * vocab), static_cast<size_t>((to - from) * vocab)),
                    .bias = {}},
                   *matrix, pool, w.matmul);
  }
  find_runs(adapters, w.runs);
  w.segments.clear();
  for (const AdapterRun& run : w.runs) {
    if (!run.adapter->head().empty()) w.segments.push_back({run.first, run.rows, &run.adapter->head()});
  }
  if (!w.segments.empty()) tensor::lora({hidden, width, logits, vocab, {}}, w.segments, pool, w.lora);
}

}  // namespace colony::model
