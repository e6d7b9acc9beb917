#include "train/network.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/rng.h"
#include "model/kv_cache.h"
#include "model/rope_table.h"
#include "model/weights.h"
#include "tensor/attention.h"
#include "tensor/backward.h"
#include "tensor/ops.h"
#include "tensor/sampling.h"
#include "tensor/sequence_attention.h"

namespace colony::train {

using tensor::RowMatrix;

namespace {

constexpr uint16_t kDropoutStream = 301;
constexpr int64_t kHeadRows = 128;  // logits at once
constexpr int64_t kHeadRowsBetweenBreaths = 16;
constexpr int64_t kGreedyAtOnce = 32;  // prompts

struct Layer {
  model::LayerNorms norms;
  RowMatrix products[4];                     // by Product
  std::vector<float> biases[4];              // empty without
};

// What a layer's gradient needs of its forward direction.
struct Kept {
  std::vector<float> x;         // [T, C], what came in
  std::vector<float> qk;        // [T, q + kv] before the heads' norms; empty without
  std::vector<float> qkv;       // [T, q + 2 kv], rotated
  std::vector<float> attended;  // [T, q]
  std::vector<float> lse;       // [T, H]
  std::vector<float> o_out, down_out;  // [T, C], before the norms on them; empty without
  std::vector<float> middle;    // [T, C], after attention
  std::vector<float> gate_up;   // [T, 2F]
  std::vector<float> u;         // [T, rank] of each module of the layer, one after the other
};

std::span<float> sized(std::vector<float>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
  return std::span(buffer).first(static_cast<size_t>(size));
}

template <typename Body>
void over(int64_t count, tensor::ThreadPool& pool, const Body& body) {
  const auto parts = static_cast<int>(std::clamp<int64_t>(count / 4, 1, 4L * pool.threads()));
  pool.run(parts, [&](int i) {
    for (int64_t r = count * i / parts; r < count * (i + 1) / parts; ++r) body(r);
  });
}

}  // namespace

int64_t Example::targets() const { return std::count_if(scored.begin(), scored.end(), [](uint8_t s) { return s != 0; }); }

struct Network::State {
  explicit State(model::Weights w)
      : weights(std::move(w)), rope(config(), config().rope), window_rope(config(), config().window_rope.value_or(config().rope)) {}
  model::Weights weights;
  model::RopeTable rope, window_rope;
  bool recompute = false;
  int64_t reserved = 0;  // rows
  std::function<bool()> breathe;
  bool abandoned = false;
  ByteLedger* ledger = nullptr;
  tensor::RowProducts how = tensor::RowProducts::kF32;
  model::WeightRef embedding;
  std::vector<Layer> layers;
  std::vector<float> final_norm;
  RowMatrix head;
  uint64_t bytes = 0;
  ByteLease weight_lease, activation_lease;

  // Of the adapter, made by refresh().
  std::vector<tensor::LowRankForms> forms;
  std::vector<std::vector<float>> gains;   // DoRA: magnitude / norm; empty for plain modules
  std::vector<std::vector<float>> norms;

  // Scratch.
  std::vector<Kept> kept;      // of every layer, or of one
  std::vector<std::vector<float>> inputs;  // with recompute: what came into each layer
  std::vector<float> x, h, product, act, d_act, gradient, d_wide, d_narrow, d_post, hidden, d_hidden, logits, loss;
  struct Angles {
    std::vector<float> cos, sin, minus_sin;  // [T, half]
  };
  Angles angles, window_angles;  // the second where layers with a window turn otherwise
  std::vector<float> dropped, d_dropped;
  std::vector<int32_t> targets;
  std::vector<int64_t> scored_rows;
  std::vector<tensor::SequenceRows> sequences;
  struct Row {
    int32_t id = 0;
    int64_t position = 0, length = 0;  // of its sequence
  };
  std::vector<Row> rows;  // [T]
  std::vector<uint64_t> draws;  // [T]: names a row's random numbers
  tensor::RowScratch rows_scratch;
  tensor::LowRankScratch low_rank_scratch;

  const model::ModelConfig& config() const { return weights.config(); }
  // Asks for a breath; false: the work is to be abandoned.
  bool goes_on() {
    if (!abandoned && breathe && !breathe()) abandoned = true;
    return !abandoned;
  }
  int64_t head_rows() const { return breathe ? kHeadRowsBetweenBreaths : kHeadRows; }
  // The embeddings of `rows` into x, and their angles.
  std::span<float> begin_rows(tensor::ThreadPool& pool) {
    const auto& c = config();
    const auto t = static_cast<int64_t>(rows.size());
    const auto to = sized(x, t * c.hidden_size);
    over(t, pool, [&](int64_t r) {
      const int32_t id = rows[static_cast<size_t>(r)].id;
      CHECK(id >= 0 && id < c.vocab_size, "ids are of the vocabulary");
      embedding.row(id, to.subspan(static_cast<size_t>(r * c.hidden_size), static_cast<size_t>(c.hidden_size)));
    });
    if (c.embedding_scale != 1) tensor::scale_in_place(to, static_cast<float>(c.embedding_scale));
    const auto turn = [&](const model::RopeTable& table, Angles& into) {
      const auto half = static_cast<size_t>(table.half());
      const auto cos = sized(into.cos, t * table.half()), sin = sized(into.sin, t * table.half()), minus = sized(into.minus_sin, t * table.half());
      for (size_t r = 0; r < rows.size(); ++r) table.angles(rows[r].position, rows[r].length, cos.subspan(r * half, half), sin.subspan(r * half, half));
      for (size_t i = 0; i < sin.size(); ++i) minus[i] = -sin[i];
    };
    turn(rope, angles);
    if (c.window_rope) turn(window_rope, window_angles);
    return to;
  }

  int64_t q() const { return config().num_attention_heads * config().head_dim; }
  int64_t kv() const { return config().num_key_value_heads * config().head_dim; }
  int64_t outputs(Product p) const {
    const auto& c = config();
    return p == Product::kQkv ? q() + 2 * kv() : p == Product::kGateUp ? 2 * c.intermediate_size : c.hidden_size;
  }
  int64_t inputs_of(Product p) const {
    const auto& c = config();
    return p == Product::kO ? q() : p == Product::kDown ? c.intermediate_size : c.hidden_size;
  }
};

// Where rows' keys and values go, and which they see.
struct Cached {
  const model::KvCache* cache = nullptr;
  std::span<const tensor::AttentionRow> where;  // [T]
};

// One pass: what its parts share.
class PassRun {
 public:
  // The rows of begin_rows(). With a cache: forward only.
  PassRun(Network::State& state, LoraWeights& lora, const PassOptions& options, tensor::ThreadPool& pool, Cached cached = {})
      : s_(state), lora_(lora), options_(options), t_(static_cast<int64_t>(state.rows.size())), pool_(pool), cached_(cached) {}

  // x becomes what comes out of the layer.
  void forward(int64_t layer, std::span<float> x, Kept& kept) {
    const Layer& own = s_.layers[static_cast<size_t>(layer)];
    const auto& c = s_.config();
    const auto eps = static_cast<float>(c.rms_norm_eps);
    std::ranges::copy(x, sized(kept.x, t_ * c.hidden_size).begin());
    size_u(layer, kept);
    const auto h = sized(s_.h, t_ * c.hidden_size);
    tensor::rms_norm(x, own.norms.input, eps, h, pool_);
    const auto qkv = sized(kept.qkv, t_ * s_.outputs(Product::kQkv));
    product(layer, Product::kQkv, h, qkv, kept);
    if (c.qk_norm) {
      const auto raw = sized(kept.qk, t_ * (s_.q() + s_.kv()));
      const int64_t width = s_.q() + s_.kv(), stride = s_.outputs(Product::kQkv);
      over(t_, pool_, [&](int64_t r) { std::copy_n(qkv.data() + r * stride, width, raw.data() + r * width); });
      tensor::head_rms_norm(qkv, t_, stride, static_cast<int>(c.num_attention_heads), own.norms.q, eps, pool_);
      tensor::head_rms_norm(qkv.subspan(static_cast<size_t>(s_.q())), t_, stride, static_cast<int>(c.num_key_value_heads), own.norms.k, eps, pool_);
    }
    rotate(layer, qkv, false);
    const auto attended = sized(kept.attended, t_ * s_.q());
    if (cached_.cache != nullptr) {
      const tensor::KvView cache = cached_.cache->layer(layer);
      const int64_t stride = s_.outputs(Product::kQkv);
      tensor::kv_store(cache, cached_.where, qkv.data() + s_.q(), qkv.data() + s_.q() + s_.kv(), stride, pool_);
      tensor::attention({.q = qkv.data(), .q_stride = stride, .heads = static_cast<int>(c.num_attention_heads), .scale = static_cast<float>(c.attention_scale),
                         .window = c.window(layer), .out = attended.data()},
                        cache, cached_.where, pool_);
    } else {
      tensor::sequence_attention(attention(layer, qkv), attended, sized(kept.lse, t_ * c.num_attention_heads), pool_);
    }
    const auto out = sized(s_.product, t_ * c.hidden_size);
    product(layer, Product::kO, attended, out, kept);
    add_normed(x, out, own.norms.attention_post, kept.o_out);
    std::ranges::copy(x, sized(kept.middle, t_ * c.hidden_size).begin());
    tensor::rms_norm(x, own.norms.middle, eps, h, pool_);
    const auto gate_up = sized(kept.gate_up, t_ * 2 * c.intermediate_size);
    product(layer, Product::kGateUp, h, gate_up, kept);
    const auto act = sized(s_.act, t_ * c.intermediate_size);
    gate(gate_up, act);
    product(layer, Product::kDown, act, out, kept);
    add_normed(x, out, own.norms.ffn_post, kept.down_out);
  }

  // `g`: the gradient of what came out becomes the gradient of what came in. kept.gate_up and kept.qkv are used up.
  void backward(int64_t layer, std::span<float> g, Kept& kept, bool need_inputs) {
    const Layer& own = s_.layers[static_cast<size_t>(layer)];
    const auto& c = s_.config();
    const auto eps = static_cast<float>(c.rms_norm_eps);
    const auto narrow = [&](std::vector<float>& b) { return std::span(b).first(static_cast<size_t>(t_ * c.hidden_size)); };
    const auto act = sized(s_.act, t_ * c.intermediate_size), d_act = sized(s_.d_act, t_ * c.intermediate_size);
    const auto gate_up = std::span(kept.gate_up).first(static_cast<size_t>(t_ * 2 * c.intermediate_size));
    gate(gate_up, act);
    product_backward(layer, Product::kDown, act, before_norm(g, own.norms.ffn_post, kept.down_out), d_act, kept, true);
    c.gelu ? tensor::gelu_mul_backward(gate_up, t_, c.intermediate_size, d_act, pool_) : tensor::silu_mul_backward(gate_up, t_, c.intermediate_size, d_act, pool_);
    const auto h = sized(s_.h, t_ * c.hidden_size), dh = sized(s_.d_narrow, t_ * c.hidden_size);
    tensor::rms_norm(narrow(kept.middle), own.norms.middle, eps, h, pool_);
    product_backward(layer, Product::kGateUp, h, gate_up, dh, kept, true);
    tensor::rms_norm_backward(narrow(kept.middle), own.norms.middle, eps, dh, g, pool_);

    const auto attended = std::span(kept.attended).first(static_cast<size_t>(t_ * s_.q()));
    const auto d_attended = sized(s_.d_act, t_ * s_.q());
    product_backward(layer, Product::kO, attended, before_norm(g, own.norms.attention_post, kept.o_out), d_attended, kept, true);
    const auto qkv = std::span(kept.qkv).first(static_cast<size_t>(t_ * s_.outputs(Product::kQkv)));
    const auto d_qkv = sized(s_.d_wide, t_ * s_.outputs(Product::kQkv));
    tensor::sequence_attention_backward(attention(layer, qkv), attended, std::span(kept.lse).first(static_cast<size_t>(t_ * c.num_attention_heads)),
                                        d_attended, d_qkv, pool_);
    rotate(layer, d_qkv, true);
    if (c.qk_norm) {
      const int64_t width = s_.q() + s_.kv(), stride = s_.outputs(Product::kQkv);
      const auto raw = std::span<const float>(kept.qk).first(static_cast<size_t>(t_ * width));
      const auto q = static_cast<size_t>(s_.q());
      tensor::head_rms_norm_backward(raw, width, t_, static_cast<int>(c.num_attention_heads), own.norms.q, eps, d_qkv, stride, pool_);
      tensor::head_rms_norm_backward(raw.subspan(q), width, t_, static_cast<int>(c.num_key_value_heads), own.norms.k, eps, d_qkv.subspan(q), stride, pool_);
    }
    tensor::rms_norm(narrow(kept.x), own.norms.input, eps, h, pool_);
    product_backward(layer, Product::kQkv, h, d_qkv, dh, kept, need_inputs);
    if (need_inputs) tensor::rms_norm_backward(narrow(kept.x), own.norms.input, eps, dh, g, pool_);
  }

 private:
  tensor::SequenceAttention attention(int64_t layer, std::span<const float> qkv) const {
    const auto& c = s_.config();
    return {static_cast<int>(c.num_attention_heads), static_cast<int>(c.num_key_value_heads), static_cast<int>(c.head_dim),
            static_cast<float>(c.attention_scale), s_.sequences, qkv, c.window(layer)};
  }
  void rotate(int64_t layer, std::span<float> qkv, bool back) const {
    const auto& c = s_.config();
    const bool windowed = c.has_window_rope(layer);
    const int half = windowed ? s_.window_rope.half() : s_.rope.half();
    const auto& angles = windowed ? s_.window_angles : s_.angles;
    const auto size = static_cast<size_t>(t_ * half);
    tensor::rope(qkv, s_.outputs(Product::kQkv), static_cast<int>(c.num_attention_heads + c.num_key_value_heads), static_cast<int>(c.head_dim),
                 std::span<const float>(angles.cos).first(size), std::span<const float>(back ? angles.minus_sin : angles.sin).first(size), half, pool_);
  }
  void gate(std::span<const float> gate_up, std::span<float> act) const {
    const int64_t f = s_.config().intermediate_size;
    s_.config().gelu ? tensor::gelu_mul(gate_up, t_, f, act, pool_) : tensor::silu_mul(gate_up, t_, f, act, pool_);
  }
  // x += out, through the norm on it when there is one; then `kept` is out as it was.
  void add_normed(std::span<float> x, std::span<float> out, std::span<const float> norm, std::vector<float>& kept) const {
    if (!norm.empty()) {
      std::ranges::copy(out, sized(kept, static_cast<int64_t>(out.size())).begin());
      tensor::rms_norm(out, norm, static_cast<float>(s_.config().rms_norm_eps), out, pool_);
    }
    tensor::add_in_place(x, out, pool_);
  }
  // The gradient of what add_normed() took, `g` being that of x.
  std::span<float> before_norm(std::span<float> g, std::span<const float> norm, const std::vector<float>& kept) const {
    if (norm.empty()) return g;
    const auto d = sized(s_.d_post, static_cast<int64_t>(g.size()));
    std::ranges::fill(d, 0.0f);
    tensor::rms_norm_backward(std::span<const float>(kept).first(g.size()), norm, static_cast<float>(s_.config().rms_norm_eps), g, d, pool_);
    return d;
  }
  void size_u(int64_t layer, Kept& kept) const {
    int64_t ranks = 0;
    for (int p = 0; p < 4; ++p) {
      for (const size_t i : lora_.of(layer, static_cast<Product>(p))) ranks += lora_.modules()[i].rank;
    }
    sized(kept.u, t_ * ranks);
  }
  std::span<float> u_of(int64_t layer, size_t module, Kept& kept) const {
    int64_t before = 0;
    for (int p = 0; p < 4; ++p) {
      for (const size_t i : lora_.of(layer, static_cast<Product>(p))) {
        if (i == module) return std::span(kept.u).subspan(static_cast<size_t>(before * t_), static_cast<size_t>(lora_.modules()[i].rank * t_));
        before += lora_.modules()[i].rank;
      }
    }
    CHECK(false, "a module belongs to its layer");
    return {};
  }

  // to = x with some numbers dropped and the rest made larger, or += of what went the other way.
  void drop(size_t module, int64_t width, std::span<const float> from, std::span<float> to, bool add) {
    const auto most = static_cast<uint32_t>(std::lround(options_.dropout * 65536));
    const auto times = static_cast<float>(1.0 / (1.0 - options_.dropout));
    over(t_, pool_, [&](int64_t row) {
      RngStream rng(options_.seed, s_.draws[static_cast<size_t>(row)], static_cast<uint32_t>(module), kDropoutStream);
      uint32_t two = 0;
      for (int64_t i = 0; i < width; ++i) {
        two = i % 2 == 0 ? rng.next_u32() : two >> 16;
        const auto at = static_cast<size_t>(row * width + i);
        const float value = (two & 0xffff) < most ? 0.0f : from[at] * times;
        to[at] = add ? to[at] + value : value;
      }
    });
  }

  // y = W x + bias and the updates. With DoRA: y = gain (W x + s B A x) + bias.
  void product(int64_t layer, Product which, std::span<const float> x, std::span<float> y, Kept& kept, bool with_bias = true, bool with_gain = true) {
    if (!s_.goes_on()) return;
    const Layer& own = s_.layers[static_cast<size_t>(layer)];
    const int64_t outputs = s_.outputs(which);
    tensor::times_rows({x, t_, y, false, s_.how}, own.products[static_cast<int>(which)], pool_, s_.rows_scratch);
    for (const size_t i : lora_.of(layer, which)) {
      const TrainedModule& m = lora_.modules()[i];
      std::span<const float> in = x;
      if (options_.dropout > 0) {
        const auto dropped = sized(s_.dropped, t_ * m.inputs);
        drop(i, m.inputs, x, dropped, false);
        in = dropped;
      }
      tensor::low_rank_forward(s_.forms[i], in, t_, u_of(layer, i, kept), y.data() + m.first_output, outputs, pool_);
      if (m.dora && with_gain) scale_outputs(m, s_.gains[i], y, outputs);
    }
    const auto& bias = own.biases[static_cast<int>(which)];
    if (!bias.empty() && with_bias) {
      over(t_, pool_, [&](int64_t r) {
        float* row = y.data() + r * outputs;
        for (int64_t n = 0; n < outputs; ++n) row[n] += bias[static_cast<size_t>(n)];
      });
    }
  }
  void scale_outputs(const TrainedModule& m, std::span<const float> gain, std::span<float> y, int64_t outputs) {
    over(t_, pool_, [&](int64_t r) {
      float* row = y.data() + r * outputs + m.first_output;
      for (int64_t n = 0; n < m.outputs; ++n) row[n] *= gain[static_cast<size_t>(n)];
    });
  }

  // dx = the gradient of x (written, if asked for); those of the modules are added to. With DoRA, dy becomes
  // the gradient before the gain.
  void product_backward(int64_t layer, Product which, std::span<const float> x, std::span<float> dy, std::span<float> dx, Kept& kept, bool need_dx) {
    if (!s_.goes_on()) return;
    const Layer& own = s_.layers[static_cast<size_t>(layer)];
    const int64_t outputs = s_.outputs(which);
    const auto modules = lora_.of(layer, which);
    const bool dora = std::any_of(modules.begin(), modules.end(), [&](size_t i) { return lora_.modules()[i].dora; });
    std::span<float> dz = dy;
    if (dora) {
      // z = W x + s B A x again (the magnitudes' gradients are Σ_t dy z / norm), and dy must stay whole:
      // of o and down it is the residual stream's.
      const auto z = sized(s_.product, t_ * outputs);
      Kept unused;
      size_u(layer, unused);
      product(layer, which, x, z, unused, false, false);
      const std::span<float> all = lora_.gradients();
      for (const size_t i : modules) {
        const TrainedModule& m = lora_.modules()[i];
        if (!m.dora) continue;
        const auto dm = lora_.magnitude(m, all);
        over(m.outputs, pool_, [&](int64_t n) {
          double sum = 0;
          for (int64_t t = 0; t < t_; ++t) {
            const auto at = static_cast<size_t>(t * outputs + m.first_output + n);
            sum += static_cast<double>(dy[at]) * static_cast<double>(z[at]);
          }
          dm[static_cast<size_t>(n)] += static_cast<float>(sum / static_cast<double>(s_.norms[i][static_cast<size_t>(n)]));
        });
      }
      dz = z;
      std::ranges::copy(dy, dz.begin());
      for (const size_t i : modules) {
        if (lora_.modules()[i].dora) scale_outputs(lora_.modules()[i], s_.gains[i], dz, outputs);
      }
    }
    if (need_dx) tensor::times_columns({dz, t_, dx, false, s_.how}, own.products[static_cast<int>(which)], pool_, s_.rows_scratch);
    const std::span<float> all = lora_.gradients();
    for (const size_t i : modules) {
      const TrainedModule& m = lora_.modules()[i];
      std::span<const float> in = x;
      std::span<float> back = need_dx ? dx : std::span<float>{};
      if (options_.dropout > 0) {
        const auto dropped = sized(s_.dropped, t_ * m.inputs);
        drop(i, m.inputs, x, dropped, false);
        in = dropped;
        if (need_dx) {
          back = sized(s_.d_dropped, t_ * m.inputs);
          std::ranges::fill(back, 0.0f);
        }
      }
      tensor::low_rank_backward(s_.forms[i], in, t_, u_of(layer, i, kept), dz.data() + m.first_output, outputs, lora_.a(m, all),
                                lora_.b(m, all), back, pool_, s_.low_rank_scratch);
      if (options_.dropout > 0 && need_dx) drop(i, m.inputs, back, dx, true);
    }
  }

  Network::State& s_;
  LoraWeights& lora_;
  const PassOptions& options_;
  int64_t t_;
  tensor::ThreadPool& pool_;
  Cached cached_;
};

Network::Network() = default;
Network::~Network() = default;
const model::ModelConfig& Network::config() const { return state_->config(); }
const std::string& Network::content_hash() const { return state_->weights.content_hash(); }
uint64_t Network::weight_bytes() const { return state_->bytes; }
double Network::head_weights() const { return static_cast<double>(config().vocab_size) * static_cast<double>(config().hidden_size); }
double Network::layer_weights() const {
  double sum = 0;
  for (int p = 0; p < 4; ++p) {
    sum += static_cast<double>(state_->outputs(static_cast<Product>(p))) * static_cast<double>(state_->inputs_of(static_cast<Product>(p)));
  }
  return sum * static_cast<double>(config().num_hidden_layers);
}

Result<std::unique_ptr<Network>> Network::load(const std::filesystem::path& path, const Options& options, ByteLedger& ledger,
                                               tensor::ThreadPool& pool) {
  CHECK(options.dtype == tensor::WeightType::kF32 || options.dtype == tensor::WeightType::kBf16, "training is in f32 or bf16");
  ASSIGN_OR_RETURN(auto weights, model::Weights::open(path));
  std::unique_ptr<Network> network(new Network());
  network->state_ = std::make_unique<State>(std::move(weights));
  State& s = *network->state_;
  const model::ModelConfig& c = s.config();
  s.ledger = &ledger;
  s.breathe = options.breathe;
  s.how = tensor::best_row_products(options.dtype);
  for (int p = 0; p < 4; ++p) {
    s.bytes += static_cast<uint64_t>(c.num_hidden_layers) * RowMatrix::bytes_for(options.dtype, s.outputs(static_cast<Product>(p)), s.inputs_of(static_cast<Product>(p)));
  }
  s.bytes += RowMatrix::bytes_for(options.dtype, c.vocab_size, c.hidden_size) + static_cast<uint64_t>(c.num_hidden_layers) * model::LayerNorms::bytes(c) + static_cast<uint64_t>(c.hidden_size) * 4;
  ASSIGN_OR_RETURN(s.weight_lease, ledger.take("trainer weights", s.bytes));
  s.weights.warn_of_unread();
  ASSIGN_OR_RETURN(s.embedding, s.weights.find("model.embed_tokens.weight", c.vocab_size, c.hidden_size));
  ASSIGN_OR_RETURN(s.final_norm, s.weights.norm("model.norm.weight", c.hidden_size));
  const std::vector<std::vector<std::pair<const char*, int64_t>>> parts = {
      {{"self_attn.q_proj", s.q()}, {"self_attn.k_proj", s.kv()}, {"self_attn.v_proj", s.kv()}},
      {{"self_attn.o_proj", c.hidden_size}},
      {{"mlp.gate_proj", c.intermediate_size}, {"mlp.up_proj", c.intermediate_size}},
      {{"mlp.down_proj", c.hidden_size}}};
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    Layer layer;
    ASSIGN_OR_RETURN(layer.norms, s.weights.layer_norms(i));
    for (size_t p = 0; p < 4; ++p) {
      if (!s.goes_on()) return cancelled("loading {} was abandoned", path.string());
      const auto product = static_cast<Product>(p);
      std::vector<model::WeightRef> refs;
      std::vector<std::pair<std::string, int64_t>> modules;
      for (const auto& [name, rows] : parts[p]) {
        ASSIGN_OR_RETURN(auto ref, s.weights.find(prefix + name + ".weight", rows, s.inputs_of(product)));
        refs.push_back(std::move(ref));
        modules.emplace_back(prefix + name, rows);
      }
      ASSIGN_OR_RETURN(layer.biases[p], s.weights.biases(modules));
      layer.products[p] = RowMatrix::make(options.dtype, s.outputs(product), s.inputs_of(product),
                                          [&](int64_t row, std::span<float> out) {
                                            for (const auto& ref : refs) {
                                              if (row < ref.rows) return ref.row(row, out);
                                              row -= ref.rows;
                                            }
                                          },
                                          pool);
    }
    s.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(const auto head, s.weights.head());
  s.head = RowMatrix::make(options.dtype, c.vocab_size, c.hidden_size, [&](int64_t row, std::span<float> out) { head.row(row, out); }, pool);
  s.weights.release();
  return network;
}

uint64_t Network::activation_bytes(int64_t tokens, const LoraWeights& lora, bool recompute) const {
  const State& s = *state_;
  const auto& c = config();
  const int64_t layers = c.num_hidden_layers, wide = std::max(2 * c.intermediate_size, s.outputs(Product::kQkv));
  int64_t ranks = 0;
  for (const auto& m : lora.modules()) ranks += m.rank;
  const int64_t layer = (c.post_norms ? 4 : 2) * c.hidden_size + (c.qk_norm ? s.q() + s.kv() : 0) + s.outputs(Product::kQkv) + s.q() + c.num_attention_heads + 2 * c.intermediate_size;
  int64_t numbers = recompute ? layer + layers * c.hidden_size + ranks : layers * layer + ranks;
  numbers += 8 * c.hidden_size + 2 * c.intermediate_size + s.q() + 2 * s.outputs(Product::kQkv) + 3 * s.rope.half() + wide + (c.window_rope ? 3 * s.window_rope.half() : 0) + (c.post_norms ? c.hidden_size : 0);
  return static_cast<uint64_t>(tokens * numbers + kHeadRows * (c.vocab_size + 2 * c.hidden_size)) * sizeof(float);
}

Status Network::reserve(int64_t tokens, const LoraWeights& lora, bool recompute) {
  State& s = *state_;
  s.activation_lease = ByteLease();
  ASSIGN_OR_RETURN(s.activation_lease, s.ledger->take("trainer", activation_bytes(tokens, lora, recompute)));
  s.recompute = recompute;
  s.reserved = tokens;
  s.kept.assign(static_cast<size_t>(recompute ? 1 : config().num_hidden_layers), {});
  s.inputs.assign(static_cast<size_t>(recompute ? config().num_hidden_layers : 0), {});
  return {};
}

void Network::initialise_magnitudes(LoraWeights& lora, tensor::ThreadPool& pool) const {
  const State& s = *state_;
  const std::span<float> all = lora.values();
  for (const TrainedModule& m : lora.modules()) {
    if (!m.dora) continue;
    const RowMatrix& w = s.layers[static_cast<size_t>(m.layer)].products[static_cast<int>(m.product)];
    const auto a = lora.a(m, all), b = lora.b(m, all), magnitude = lora.magnitude(m, all);
    over(m.outputs, pool, [&](int64_t n) {
      std::vector<float> row(static_cast<size_t>(m.inputs));
      w.row(m.first_output + n, row);
      double squares = 0;
      for (int64_t k = 0; k < m.inputs; ++k) {
        double value = static_cast<double>(row[static_cast<size_t>(k)]);
        for (int64_t r = 0; r < m.rank; ++r) {
          value += m.scale * static_cast<double>(b[static_cast<size_t>(r * m.outputs + n)]) * static_cast<double>(a[static_cast<size_t>(r * m.inputs + k)]);
        }
        squares += value * value;
      }
      magnitude[static_cast<size_t>(n)] = static_cast<float>(std::sqrt(squares));
    });
  }
}

void Network::refresh(LoraWeights& lora, tensor::ThreadPool& pool) {
  State& s = *state_;
  const std::span<float> all = lora.values();
  s.forms.clear();
  s.gains.assign(lora.modules().size(), {});
  s.norms.assign(lora.modules().size(), {});
  bool dora = false;
  for (const TrainedModule& m : lora.modules()) {
    s.forms.emplace_back(tensor::LowRank{m.rank, m.inputs, m.outputs, static_cast<float>(m.scale), lora.a(m, all), lora.b(m, all)});
    dora = dora || m.dora;
  }
  if (!dora) return;
  // The norms, where the magnitudes stand: a moment's exchange.
  std::vector<std::vector<float>> magnitudes;
  for (const TrainedModule& m : lora.modules()) {
    const auto own = lora.magnitude(m, all);
    magnitudes.emplace_back(own.begin(), own.end());
  }
  initialise_magnitudes(lora, pool);
  for (size_t i = 0; i < lora.modules().size(); ++i) {
    const auto own = lora.magnitude(lora.modules()[i], all);
    s.norms[i].assign(own.begin(), own.end());
    std::ranges::copy(magnitudes[i], own.begin());
    s.gains[i].resize(own.size());
    for (size_t n = 0; n < own.size(); ++n) s.gains[i][n] = magnitudes[i][n] / s.norms[i][n];
  }
}

PassResult Network::pass(std::span<const Example* const> examples, LoraWeights& lora, const PassOptions& options, tensor::ThreadPool& pool) {
  State& s = *state_;
  const auto& c = config();
  CHECK(s.forms.size() == lora.modules().size() && !s.kept.empty(), "reserve() and refresh() come before pass()");
  const int64_t width = c.hidden_size;
  s.sequences.clear();
  s.scored_rows.clear();
  s.targets.clear();
  s.draws.clear();
  s.rows.clear();
  s.abandoned = false;
  int64_t t = 0;
  for (size_t e = 0; e < examples.size(); ++e) {
    const Example& example = *examples[e];
    const auto length = static_cast<int64_t>(example.ids.size());
    CHECK(length > 0 && example.scored.size() == example.ids.size() && example.scored[0] == 0, "an example has a mark for each token");
    s.sequences.push_back({t, length});
    for (int64_t i = 0; i < length; ++i) {
      s.draws.push_back((options.first_draw + e) << 20 | static_cast<uint64_t>(i));
      s.rows.push_back({example.ids[static_cast<size_t>(i)], i, length});
      if (example.scored[static_cast<size_t>(i)] == 0) continue;
      s.scored_rows.push_back(t + i - 1);
      s.targets.push_back(example.ids[static_cast<size_t>(i)]);
    }
    t += length;
  }
  PassResult result;
  result.targets = static_cast<int64_t>(s.targets.size());
  if (result.targets == 0) return result;

  const auto x = s.begin_rows(pool);

  PassRun run(s, lora, options, pool);
  const bool recompute = s.recompute;
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    if (recompute && options.gradients) std::ranges::copy(x, sized(s.inputs[static_cast<size_t>(i)], t * width).begin());
    if (s.abandoned) break;
    // Without gradients one layer's place is enough.
    run.forward(i, x, s.kept[static_cast<size_t>(recompute || !options.gradients ? 0 : i)]);
  }

  const auto g = sized(s.gradient, options.gradients ? t * width : 0);
  std::ranges::fill(g, 0.0f);
  for (int64_t from = 0; from < result.targets && s.goes_on(); from += s.head_rows()) {
    const int64_t rows = std::min(s.head_rows(), result.targets - from);
    const auto picked = sized(s.d_hidden, rows * width), hidden = sized(s.hidden, rows * width), logits = sized(s.logits, rows * c.vocab_size);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(x.data() + s.scored_rows[static_cast<size_t>(from + r)] * width, width, picked.data() + r * width);
    }
    const auto eps = static_cast<float>(c.rms_norm_eps);
    tensor::rms_norm(picked, s.final_norm, eps, hidden, pool);
    tensor::times_rows({hidden, rows, logits, false, s.how}, s.head, pool, s.rows_scratch);
    const auto loss = sized(s.loss, rows);
    tensor::cross_entropy(logits, rows, std::span(s.targets).subspan(static_cast<size_t>(from), static_cast<size_t>(rows)),
                          options.gradients ? options.weight : 0.0f, loss, pool);
    for (const float value : loss) result.loss_sum += static_cast<double>(value);
    if (!options.gradients) continue;
    if (!s.goes_on()) break;
    tensor::times_columns({logits, rows, hidden, false, s.how}, s.head, pool, s.rows_scratch);
    // Where the same row is picked once only, and it is: a row predicts one token.
    std::vector<float> d_picked(picked.size(), 0.0f);
    tensor::rms_norm_backward(picked, s.final_norm, eps, hidden, d_picked, pool);
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(d_picked.data() + r * width, width, g.data() + s.scored_rows[static_cast<size_t>(from + r)] * width);
    }
  }
  for (int64_t i = c.num_hidden_layers - 1; options.gradients && !s.abandoned && i >= lora.lowest_layer(); --i) {
    Kept& kept = s.kept[static_cast<size_t>(recompute ? 0 : i)];
    if (recompute) {
      const auto again = sized(s.x, t * width);
      std::ranges::copy(std::span(s.inputs[static_cast<size_t>(i)]).first(again.size()), again.begin());
      run.forward(i, again, kept);
    }
    run.backward(i, g, kept, i > lora.lowest_layer());
  }
  result.abandoned = s.abandoned;
  return result;
}

void Network::on_breath(std::function<bool()> breathe) { state_->breathe = std::move(breathe); }

Result<std::vector<std::vector<int32_t>>> Network::greedy(std::span<const GreedyPrompt> prompts, LoraWeights& lora, std::span<const int32_t> eos_ids,
                                                          tensor::ThreadPool& pool) {
  State& s = *state_;
  const auto& c = config();
  CHECK(s.forms.size() == lora.modules().size() && s.reserved > 0, "reserve() and refresh() come before greedy()");
  std::vector<std::vector<int32_t>> out(prompts.size());
  const PassOptions plain;
  s.abandoned = false;
  size_t at_once = static_cast<size_t>(kGreedyAtOnce);
  for (size_t begin = 0; begin < prompts.size();) {
    const size_t end = std::min(prompts.size(), begin + std::min(at_once, static_cast<size_t>(s.reserved)));
    std::vector<std::vector<int32_t>> pages(end - begin);
    int32_t page_count = 0;
    for (size_t p = begin; p < end; ++p) {
      CHECK(!prompts[p].ids.empty(), "a prompt has tokens");
      const int64_t tokens = static_cast<int64_t>(prompts[p].ids.size()) + prompts[p].max_tokens;
      for (int64_t i = 0; i < (tokens + tensor::kPageTokens - 1) / tensor::kPageTokens; ++i) pages[p - begin].push_back(page_count++);
    }
    auto cache = model::KvCache::create(c, tensor::KvType::kF32, page_count, *s.ledger);
    if (!cache) {
      if (end - begin == 1) return std::move(cache).error();
      at_once = (end - begin) / 2;
      continue;
    }
    struct Live {
      size_t prompt = 0;
      int64_t done = 0;  // tokens whose keys and values are there
    };
    std::vector<Live> live;
    for (size_t p = begin; p < end; ++p) {
      if (prompts[p].max_tokens > 0) live.push_back({p, 0});
    }
    while (!live.empty()) {
      // Rows of a pass: what is left of the prompts, or the last token of each, as many as there is room for.
      s.rows.clear();
      std::vector<tensor::AttentionRow> where;
      std::vector<std::pair<size_t, int64_t>> ends;  // of live sequences whose next token comes out, and the row
      for (size_t i = 0; i < live.size(); ++i) {
        const auto& ids = prompts[live[i].prompt].ids;
        const auto& own = out[live[i].prompt];
        const auto prompt = static_cast<int64_t>(ids.size()), known = prompt + static_cast<int64_t>(own.size());
        while (live[i].done < known && static_cast<int64_t>(s.rows.size()) < s.reserved) {
          const int64_t at = live[i].done++;
          s.rows.push_back({at < prompt ? ids[static_cast<size_t>(at)] : own[static_cast<size_t>(at - prompt)], at, std::max(prompt, at + 1)});
          where.push_back({at, pages[live[i].prompt - begin]});
          if (at + 1 == known) ends.emplace_back(i, static_cast<int64_t>(s.rows.size()) - 1);
        }
      }
      const auto x = s.begin_rows(pool);
      PassRun run(s, lora, plain, pool, {&*cache, where});
      for (int64_t layer = 0; layer < c.num_hidden_layers && !s.abandoned; ++layer) run.forward(layer, x, s.kept[0]);
      std::vector<uint8_t> over_now(live.size(), 0);
      for (size_t from = 0; from < ends.size() && s.goes_on(); from += static_cast<size_t>(s.head_rows())) {
        const auto rows = std::min(s.head_rows(), static_cast<int64_t>(ends.size() - from));
        const auto picked = sized(s.d_hidden, rows * c.hidden_size), hidden = sized(s.hidden, rows * c.hidden_size), logits = sized(s.logits, rows * c.vocab_size);
        for (int64_t r = 0; r < rows; ++r) {
          std::copy_n(x.data() + ends[from + static_cast<size_t>(r)].second * c.hidden_size, c.hidden_size, picked.data() + r * c.hidden_size);
        }
        tensor::rms_norm(picked, s.final_norm, static_cast<float>(c.rms_norm_eps), hidden, pool);
        tensor::times_rows({hidden, rows, logits, false, s.how}, s.head, pool, s.rows_scratch);
        for (int64_t r = 0; r < rows; ++r) {
          const size_t i = ends[from + static_cast<size_t>(r)].first;
          auto& own = out[live[i].prompt];
          const auto id = static_cast<int32_t>(tensor::argmax(logits.subspan(static_cast<size_t>(r * c.vocab_size), static_cast<size_t>(c.vocab_size))));
          const bool eos = std::ranges::find(eos_ids, id) != eos_ids.end();
          if (!eos) own.push_back(id);
          over_now[i] = eos || static_cast<int64_t>(own.size()) >= prompts[live[i].prompt].max_tokens;
        }
      }
      if (s.abandoned) return cancelled("generation was abandoned");
      size_t kept = 0;
      for (size_t i = 0; i < live.size(); ++i) {
        if (over_now[i] == 0) live[kept++] = live[i];
      }
      live.resize(kept);
    }
    begin = end;
  }
  return out;
}

}  // namespace colony::train
