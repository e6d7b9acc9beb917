#include "model/gguf.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>

#include "tensor/f16.h"
#include "tensor/ops.h"

namespace colony::model {
namespace {

using tensor::from_f16;

struct TypeInfo {
  DType type;
  const char* name;
  int64_t numbers, bytes;
};
// By ggml's number. Types without DType are known by size, so that the offsets can be checked.
const std::map<int32_t, TypeInfo>& types() {
  static const std::map<int32_t, TypeInfo> kTypes = {
      {0, {DType::kF32, "F32", 1, 4}},        {1, {DType::kF16, "F16", 1, 2}},
      {2, {DType::kQ4_0, "Q4_0", 32, 18}},    {3, {DType::kQ4_1, "Q4_1", 32, 20}},
      {6, {DType::kQ5_0, "Q5_0", 32, 22}},    {7, {DType::kQ5_1, "Q5_1", 32, 24}},
      {8, {DType::kQ8_0, "Q8_0", 32, 34}},    {10, {DType::kOther, "Q2_K", 256, 84}},
      {11, {DType::kOther, "Q3_K", 256, 110}}, {12, {DType::kQ4_K, "Q4_K", 256, 144}},
      {13, {DType::kQ5_K, "Q5_K", 256, 176}}, {14, {DType::kQ6_K, "Q6_K", 256, 210}},
      {20, {DType::kOther, "IQ4_NL", 32, 18}}, {23, {DType::kOther, "IQ4_XS", 256, 136}},
      {24, {DType::kI8, "I8", 1, 1}},         {25, {DType::kI16, "I16", 1, 2}},
      {26, {DType::kI32, "I32", 1, 4}},       {27, {DType::kI64, "I64", 1, 8}},
      {28, {DType::kF64, "F64", 1, 8}},       {30, {DType::kBf16, "BF16", 1, 2}},
      {39, {DType::kOther, "MXFP4", 32, 17}}};
  return kTypes;
}

// Reads forward; any read past the end sets failed() and gives zeros.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  T take() {
    T value{};
    if (failed_ || bytes_.size() - at_ < sizeof(T)) {
      failed_ = true;
      return value;
    }
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::string take_string() {
    const auto size = take<uint64_t>();
    if (failed_ || size > bytes_.size() - at_) {
      failed_ = true;
      return "";
    }
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return text;
  }
  bool failed() const { return failed_; }
  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

 private:
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  bool failed_ = false;
};

constexpr uint64_t scalar_bytes(int32_t type) {
  switch (type) {
    case 0: case 1: case 7: return 1;
    case 2: case 3: return 2;
    case 4: case 5: case 6: return 4;
    case 10: case 11: case 12: return 8;
    case 8: return 8;  // a string takes at least its length
    default: return 0;
  }
}

int64_t take_integer(Cursor& in, int32_t type) {
  switch (type) {
    case 0: return in.take<uint8_t>();
    case 1: return in.take<int8_t>();
    case 2: return in.take<uint16_t>();
    case 3: return in.take<int16_t>();
    case 4: return in.take<uint32_t>();
    case 5: return in.take<int32_t>();
    case 10: return static_cast<int64_t>(in.take<uint64_t>());
    default: return in.take<int64_t>();
  }
}

Result<GgufValue> take_value(Cursor& in, int32_t type, const std::string& where) {
  switch (type) {
    case 0: case 2: case 4: case 10: return GgufValue(static_cast<uint64_t>(take_integer(in, type)));
    case 1: case 3: case 5: case 11: return GgufValue(take_integer(in, type));
    case 6: return GgufValue(static_cast<double>(in.take<float>()));
    case 12: return GgufValue(in.take<double>());
    case 7: return GgufValue(in.take<int8_t>() != 0);
    case 8: return GgufValue(in.take_string());
    case 9: break;
    default: return corrupt("{}: unknown value type {}", where, type);
  }
  const auto element = in.take<int32_t>();
  const auto count = in.take<uint64_t>();
  const uint64_t least = scalar_bytes(element);
  if (least == 0) return corrupt("{}: array of unknown or nested type {}", where, element);
  if (count > (1ULL << 30) || count > in.left() / least) {
    return corrupt("{}: array of {} elements does not fit the {} bytes that are left", where, count, in.left());
  }
  if (element == 8) {
    std::vector<std::string> list;
    list.reserve(count);
    for (uint64_t i = 0; i < count && !in.failed(); ++i) list.push_back(in.take_string());
    return GgufValue(std::move(list));
  }
  if (element == 7) {
    std::vector<bool> list;
    for (uint64_t i = 0; i < count && !in.failed(); ++i) list.push_back(in.take<int8_t>() != 0);
    return GgufValue(std::move(list));
  }
  if (element == 6 || element == 12) {
    std::vector<double> list;
    list.reserve(count);
    for (uint64_t i = 0; i < count && !in.failed(); ++i) {
      list.push_back(element == 6 ? static_cast<double>(in.take<float>()) : in.take<double>());
    }
    return GgufValue(std::move(list));
  }
  std::vector<int64_t> list;
  list.reserve(count);
  for (uint64_t i = 0; i < count && !in.failed(); ++i) list.push_back(take_integer(in, element));
  return GgufValue(std::move(list));
}

}  // namespace

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  Cursor in(bytes);
  RETURN_IF_ERROR(check_not_mistaken({reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 512)}, name));
  const auto magic = in.take<uint32_t>();
  constexpr uint32_t kMagic = 0x46554747;
  const auto version = in.take<uint32_t>();
  // gguf-py writes the four letters in their order whatever the machine, all numbers in its order.
  if (magic == __builtin_bswap32(kMagic) || (magic == kMagic && version != 0 && (version & 0xffff) == 0)) {
    return corrupt("{}: a big-endian GGUF file (version {}, its bytes in the other order), which is not read; convert it with: "
                   "python3 -m gguf.scripts.gguf_convert_endian FILE little", name, __builtin_bswap32(version));
  }
  if (magic != kMagic) return corrupt("{}: does not begin with \"GGUF\"", name);
  if (version != 2 && version != 3) return corrupt("{}: version {}, expected 2 or 3", name, version);
  const auto tensor_count = in.take<int64_t>(), pair_count = in.take<int64_t>();
  // A tensor takes at least 24 bytes, a pair at least 13: more cannot be in the file.
  if (in.failed() || tensor_count < 0 || pair_count < 0 ||
      static_cast<uint64_t>(tensor_count) > bytes.size() / 24 ||
      static_cast<uint64_t>(pair_count) > bytes.size() / 13) {
    return corrupt("{}: {} tensors and {} metadata pairs do not fit {} bytes", name, tensor_count, pair_count,
                   bytes.size());
  }
  GgufFile file;
  file.name_ = name;
  for (int64_t i = 0; i < pair_count; ++i) {
    const std::string key = in.take_string();
    const auto type = in.take<int32_t>();
    if (in.failed()) return corrupt("{}: ends inside metadata pair {} of {}", name, i + 1, pair_count);
    ASSIGN_OR_RETURN(auto value, take_value(in, type, fmt::format("{}: {}", name, key)));
    if (in.failed()) return corrupt("{}: ends inside the value of {}", name, key);
    if (!file.metadata_.emplace(key, std::move(value)).second) {
      return corrupt("{}: key {} given twice", name, key);
    }
  }
  uint64_t alignment = 32;
  if (const auto at = file.metadata_.find("general.alignment"); at != file.metadata_.end()) {
    const auto* given = std::get_if<uint64_t>(&at->second);
    if (given == nullptr || *given == 0 || !std::has_single_bit(*given) || *given > (1u << 30)) {
      return corrupt("{}: general.alignment must be a power of two", name);
    }
    alignment = *given;
  }
  struct Pending {
    std::string name;
    GgufTensor tensor;
    uint64_t offset, bytes;
  };
  std::vector<Pending> pending;
  for (int64_t i = 0; i < tensor_count; ++i) {
    Pending p;
    p.name = in.take_string();
    const auto dims = in.take<uint32_t>();
    if (in.failed()) return corrupt("{}: ends inside tensor {} of {}", name, i + 1, tensor_count);
    const std::string where = fmt::format("{}: tensor {}", name, p.name.substr(0, 64));
    if (p.name.size() >= 64) return corrupt("{}…: a name has fewer than 64 bytes", where);
    if (dims > 4) return corrupt("{}: {} dimensions, expected at most 4", where, dims);
    uint64_t elements = 1, innermost = 1;
    for (uint32_t d = 0; d < dims; ++d) {
      const auto size = in.take<int64_t>();
      if (size < 0 || __builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements) ||
          elements > INT64_MAX) {
        return corrupt("{}: dimension {} is {}, or the product is too large", where, d, size);
      }
      if (d == 0) innermost = static_cast<uint64_t>(size);
      p.tensor.shape.insert(p.tensor.shape.begin(), static_cast<uint64_t>(size));
    }
    const auto type = in.take<int32_t>();
    p.offset = in.take<uint64_t>();
    if (in.failed()) return corrupt("{}: ends inside tensor {} of {}", name, i + 1, tensor_count);
    const auto known = types().find(type);
    if (known == types().end()) return corrupt("{}: unknown type {}", where, type);
    const TypeInfo& info = known->second;
    p.tensor.type = info.type;
    p.tensor.type_name = info.name;
    if (innermost % static_cast<uint64_t>(info.numbers) != 0) {
      return corrupt("{}: rows of {} numbers are no multiple of {}'s block of {}", where, innermost, info.name,
                     info.numbers);
    }
    if (__builtin_mul_overflow(elements / static_cast<uint64_t>(info.numbers), static_cast<uint64_t>(info.bytes),
                               &p.bytes)) {
      return corrupt("{}: its size overflows 64 bits", where);
    }
    pending.push_back(std::move(p));
  }
  const auto padded = [alignment](uint64_t size) { return (size + alignment - 1) / alignment * alignment; };
  const uint64_t start = padded(in.at());
  if (start > bytes.size() && !pending.empty()) {
    return corrupt("{}: the data would begin at byte {}, the file has {}", name, start, bytes.size());
  }
  file.header_bytes_ = std::min<uint64_t>(start, bytes.size());
  const uint64_t room = bytes.size() - file.header_bytes_;
  uint64_t expected = 0;
  for (auto& p : pending) {
    if (p.offset != expected) {
      return corrupt("{}: tensor {} lies at offset {}, expected {}", name, p.name, p.offset, expected);
    }
    if (p.bytes > room || p.offset > room - p.bytes) {
      return corrupt("{}: tensor {} takes {} bytes at offset {}, the file has {} bytes of data; is it cut short? Fetch it again",
                     name, p.name, p.bytes, p.offset, room);
    }
    p.tensor.data = bytes.subspan(file.header_bytes_ + p.offset, p.bytes);
    expected = padded(p.offset + p.bytes);
    const std::string key = p.name;
    if (!file.tensors_.emplace(std::move(p.name), std::move(p.tensor)).second) {
      return corrupt("{}: tensor {} given twice", name, key);
    }
  }
  return file;
}

std::filesystem::path GgufSplitName::part(int which) const { return fmt::format("{}-{:05d}-of-{:05d}.gguf", before, which, count); }

std::optional<GgufSplitName> gguf_split_name(const std::filesystem::path& path) {
  const std::string text = path.string();
  constexpr size_t kTail = std::string_view("-00001-of-00002.gguf").size();
  if (text.size() <= kTail) return std::nullopt;
  GgufSplitName name;
  name.before = text.substr(0, text.size() - kTail);
  const auto digits = [&](size_t at) {
    int value = 0;
    for (size_t i = at; i < at + 5; ++i) {
      if (text[i] < '0' || text[i] > '9') return 0;
      value = 10 * value + (text[i] - '0');
    }
    return value;
  };
  name.number = digits(name.before.size() + 1);
  name.count = digits(name.before.size() + 10);
  if (name.number < 1 || name.number > name.count || name.part(name.number) != text) return std::nullopt;
  return name;
}

Result<GgufFile> GgufFile::open_part(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto mapped, MappedFile::open(path));
  ASSIGN_OR_RETURN(auto file, parse(mapped->bytes(), path.string()));
  for (auto& [name, tensor] : file.tensors_) tensor.file = mapped.get();
  file.parts_.push_back({std::move(mapped), file.header_bytes_});
  return file;
}

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto file, open_part(path));
  ASSIGN_OR_RETURN(const auto count, file.integer("split.count"));
  if (!count || *count < 2) return std::make_shared<const GgufFile>(std::move(file));
  ASSIGN_OR_RETURN(const auto number, file.integer("split.no"));
  const auto split = gguf_split_name(path);
  if (!split || split->count != *count || split->number != number.value_or(-1) + 1) {
    return invalid("{}: part {} of {} of a split model (split.no, split.count), and its name does not lead to the others; name all parts "
                   "NAME-{:05d}-of-{:05d}.gguf in one folder, or make one file of them with: llama-gguf-split --merge",
                   path.string(), number.value_or(0) + 1, *count, number.value_or(0) + 1, *count);
  }
  GgufFile whole;
  for (int i = 1; i <= split->count; ++i) {
    const std::filesystem::path at = split->part(i);
    auto part = open_part(at);
    if (!part && part.error().code == ErrorCode::kNotFound) {
      return not_found("{} is part {} of {} of a split model, and part {} is not beside it: {}", path.string(), split->number, split->count, i, at.string());
    }
    if (!part) return std::move(part).error();
    ASSIGN_OR_RETURN(const auto own_number, part->integer("split.no"));
    ASSIGN_OR_RETURN(const auto own_count, part->integer("split.count"));
    if (own_number != i - 1 || own_count != *count) {
      return corrupt("{}: says it is part {} of {} (split.no, split.count), its name says {} of {}", at.string(), own_number.value_or(-1) + 1,
                     own_count.value_or(0), i, split->count);
    }
    if (i == 1) {
      whole = std::move(*part);  // the model's metadata stand here
      continue;
    }
    for (auto& [name, tensor] : part->tensors_) {
      if (!whole.tensors_.emplace(name, std::move(tensor)).second) return corrupt("{}: tensor {} stands in an earlier part too", at.string(), name);
    }
    whole.parts_.push_back(std::move(part->parts_.front()));
  }
  ASSIGN_OR_RETURN(const auto all, whole.integer("split.tensors.count"));
  if (all && *all != static_cast<int64_t>(whole.tensors_.size())) {
    return corrupt("{}: the parts hold {} tensors, split.tensors.count says {}", whole.name_, whole.tensors_.size(), *all);
  }
  return std::make_shared<const GgufFile>(std::move(whole));
}

Result<std::optional<int64_t>> GgufFile::integer(const std::string& key) const {
  const auto at = metadata_.find(key);
  if (at == metadata_.end()) return std::optional<int64_t>();
  if (const auto* u = std::get_if<uint64_t>(&at->second); u != nullptr && *u <= INT64_MAX) {
    return std::optional<int64_t>(static_cast<int64_t>(*u));
  }
  if (const auto* i = std::get_if<int64_t>(&at->second)) return std::optional<int64_t>(*i);
  return invalid("{}: {} is no whole number", name_, key);
}

Result<std::optional<double>> GgufFile::number(const std::string& key) const {
  const auto at = metadata_.find(key);
  if (at == metadata_.end()) return std::optional<double>();
  if (const auto* d = std::get_if<double>(&at->second)) return std::optional<double>(*d);
  ASSIGN_OR_RETURN(const auto whole, integer(key));
  return std::optional<double>(static_cast<double>(*whole));
}

Result<std::optional<bool>> GgufFile::boolean(const std::string& key) const {
  const auto at = metadata_.find(key);
  if (at == metadata_.end()) return std::optional<bool>();
  if (const auto* b = std::get_if<bool>(&at->second)) return std::optional<bool>(*b);
  return invalid("{}: {} is neither true nor false", name_, key);
}

Result<std::optional<std::string>> GgufFile::text(const std::string& key) const {
  const auto at = metadata_.find(key);
  if (at == metadata_.end()) return std::optional<std::string>();
  if (const auto* s = std::get_if<std::string>(&at->second)) return std::optional<std::string>(*s);
  return invalid("{}: {} is no string", name_, key);
}

const std::vector<std::string>* GgufFile::texts(const std::string& key) const {
  const auto at = metadata_.find(key);
  return at == metadata_.end() ? nullptr : std::get_if<std::vector<std::string>>(&at->second);
}
const std::vector<int64_t>* GgufFile::integers(const std::string& key) const {
  const auto at = metadata_.find(key);
  return at == metadata_.end() ? nullptr : std::get_if<std::vector<int64_t>>(&at->second);
}
const std::vector<double>* GgufFile::numbers(const std::string& key) const {
  const auto at = metadata_.find(key);
  return at == metadata_.end() ? nullptr : std::get_if<std::vector<double>>(&at->second);
}

namespace {

bool is_repo_letter(unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; }

// org/name out of an address of the hub, or as it stands.
std::optional<std::string> repo_in(std::string_view text) {
  for (const std::string_view host : {"huggingface.co/", "hf.co/"}) {
    if (const size_t at = text.find(host); at != std::string_view::npos) text.remove_prefix(at + host.size());
  }
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0) return std::nullopt;
  const std::string_view name = text.substr(slash + 1, text.find_first_of("/?#", slash + 1) - slash - 1);
  const auto good = [](std::string_view word) { return !word.empty() && std::all_of(word.begin(), word.end(), is_repo_letter); };
  if (!good(text.substr(0, slash)) || !good(name)) return std::nullopt;
  return std::string(text.substr(0, slash)) + "/" + std::string(name);
}

// Letters and digits alone, small: "Llama 3.2-1B" and "llama-3.2-1b" are one name.
std::string bare(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0) out += static_cast<char>(std::tolower(c));
  }
  return out;
}

// "SmolLM2-135M-Instruct.Q4_1.gguf" -> "SmolLM2-135M-Instruct".
std::string name_without_quant(const std::filesystem::path& file) {
  std::string stem = file.stem().string();
  if (const auto split = gguf_split_name(file)) stem = std::filesystem::path(split->before).filename().string();
  for (size_t cut = 0; cut < stem.size(); ++cut) {
    if (stem[cut] != '.' && stem[cut] != '-') continue;
    const std::string rest = bare(std::string_view(stem).substr(cut + 1));
    const bool quant = (rest.size() >= 2 && (rest[0] == 'q' || rest.starts_with("iq")) && std::isdigit(static_cast<unsigned char>(rest[rest[0] == 'q' ? 1 : 2])) != 0) ||
                       rest == "f16" || rest == "bf16" || rest == "f32" || rest == "fp16" || rest == "fp32" || rest.starts_with("udq");
    if (quant) return stem.substr(0, cut);
  }
  return stem;
}

}  // namespace

std::optional<std::string> gguf_origin(const GgufFile& file) {
  const auto text = [&](const std::string& key) -> std::string {
    const auto found = file.text("general." + key);
    return found && *found ? **found : "";
  };
  for (const char* key : {"source.huggingface.repository", "source.repo_url", "source.url"}) {
    if (auto repo = repo_in(text(key))) return repo;
  }
  const auto bases = file.integer("general.base_model.count");
  const bool merged = bases && *bases && **bases > 1;
  if (const auto base = repo_in(text("base_model.0.repo_url")); base && !merged && bare(*base).find(bare(text("finetune"))) != std::string::npos) return base;
  std::string organisation = text("organization");
  std::replace(organisation.begin(), organisation.end(), ' ', '-');
  const std::string name = name_without_quant(file.name()), basename = bare(text("basename"));
  if (organisation.empty() || basename.empty() || bare(name).find(basename) == std::string::npos) return std::nullopt;
  return repo_in(organisation + "/" + name);
}

BlockShape block_shape(DType type) {
  for (const auto& [number, info] : types()) {
    if (info.type == type && type != DType::kOther) return {info.numbers, info.bytes};
  }
  return type == DType::kU8 || type == DType::kBool ? BlockShape{1, 1} : BlockShape{};
}

namespace {

uint16_t u16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
uint32_t u32(const uint8_t* p) { return static_cast<uint32_t>(u16(p)) | static_cast<uint32_t>(u16(p + 2)) << 16; }

// Q4_0, Q4_1, Q5_0, Q5_1: x = d n + m, where the 0 kinds have m = -d·2^(bits-1) written as d (n - …).
template <bool five, bool with_min>
void decode_block32(const uint8_t* b, float* out) {
  const float d = from_f16(u16(b));
  const float m = with_min ? from_f16(u16(b + 2)) : 0.0f;
  const uint8_t* p = b + (with_min ? 4 : 2);
  const uint32_t high = five ? u32(p) : 0;
  const uint8_t* nibbles = p + (five ? 4 : 0);
  const auto put = [&](int j, int n) {
    if (five) n |= static_cast<int>(high >> j & 1) << 4;
    out[j] = with_min ? d * static_cast<float>(n) + m : d * static_cast<float>(n - (five ? 16 : 8));
  };
  for (int j = 0; j < 16; ++j) put(j, nibbles[j] & 15);
  for (int j = 0; j < 16; ++j) put(j + 16, nibbles[j] >> 4);
}

void scale_min(int j, const uint8_t* s, int* scale, int* least) {
  if (j < 4) {
    *scale = s[j] & 63;
    *least = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    *least = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
  }
}

// Q4_K and Q5_K: eight sub-blocks of 32, x = d·sc·n - dmin·mn.
template <bool five>
void decode_k45(const uint8_t* b, float* out) {
  const float d = from_f16(u16(b)), least_d = from_f16(u16(b + 2));
  const uint8_t* scales = b + 4;
  const uint8_t* high = b + 16;
  const uint8_t* nibbles = b + (five ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    int scale = 0, least = 0;
    scale_min(j, scales, &scale, &least);
    const float ds = d * static_cast<float>(scale), dm = least_d * static_cast<float>(least);
    const uint8_t* q = nibbles + 32 * (j / 2);
    for (int l = 0; l < 32; ++l) {
      int n = j % 2 == 0 ? q[l] & 15 : q[l] >> 4;
      if (five) n += (high[l] >> j & 1) << 4;
      out[32 * j + l] = ds * static_cast<float>(n) - dm;
    }
  }
}

void decode_q6k(const uint8_t* b, float* out) {
  const float d = from_f16(u16(b + 208));
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = b + 64 * half;
    const uint8_t* high = b + 128 + 32 * half;
    const auto* scales = reinterpret_cast<const int8_t*>(b + 192 + 8 * half);
    float* y = out + 128 * half;
    for (int l = 0; l < 32; ++l) {
      const int g = l / 16;
      const int v[4] = {(low[l] & 15) | (high[l] & 3) << 4, (low[l + 32] & 15) | (high[l] >> 2 & 3) << 4,
                        (low[l] >> 4) | (high[l] >> 4 & 3) << 4, (low[l + 32] >> 4) | (high[l] >> 6) << 4};
      for (int i = 0; i < 4; ++i) {
        y[l + 32 * i] = d * static_cast<float>(scales[g + 2 * i]) * static_cast<float>(v[i] - 32);
      }
    }
  }
}

}  // namespace

void decode(DType type, const std::byte* data, std::span<float> out) {
  const auto* b = reinterpret_cast<const uint8_t*>(data);
  const auto size = static_cast<int64_t>(out.size());
  const auto blocks = [&](int64_t numbers, int64_t bytes, void (*one)(const uint8_t*, float*)) {
    for (int64_t i = 0; i < size / numbers; ++i) one(b + i * bytes, out.data() + i * numbers);
  };
  switch (type) {
    case DType::kF32: std::memcpy(out.data(), b, out.size() * 4); break;
    case DType::kF64:
      for (int64_t i = 0; i < size; ++i) {
        double x;
        std::memcpy(&x, b + 8 * i, 8);
        out[static_cast<size_t>(i)] = static_cast<float>(x);
      }
      break;
    case DType::kF16:
      for (int64_t i = 0; i < size; ++i) out[static_cast<size_t>(i)] = from_f16(u16(b + 2 * i));
      break;
    case DType::kBf16:
      for (int64_t i = 0; i < size; ++i) out[static_cast<size_t>(i)] = tensor::from_bf16(u16(b + 2 * i));
      break;
    case DType::kQ8_0:
      blocks(32, 34, [](const uint8_t* p, float* y) {
        const float d = from_f16(u16(p));
        for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(static_cast<int8_t>(p[2 + j]));
      });
      break;
    case DType::kQ4_0: blocks(32, 18, decode_block32<false, false>); break;
    case DType::kQ4_1: blocks(32, 20, decode_block32<false, true>); break;
    case DType::kQ5_0: blocks(32, 22, decode_block32<true, false>); break;
    case DType::kQ5_1: blocks(32, 24, decode_block32<true, true>); break;
    case DType::kQ4_K: blocks(256, 144, decode_k45<false>); break;
    case DType::kQ5_K: blocks(256, 176, decode_k45<true>); break;
    case DType::kQ6_K: blocks(256, 210, decode_q6k); break;
    default: break;
  }
}

namespace {

// The blocks of decode_block32, and Q8_0's with q moved up by 128.
template <int bits, bool with_min>
bool groups32(const uint8_t* b, std::span<uint16_t> d, std::span<uint16_t> m, std::span<uint8_t> q) {
  constexpr int kHead = with_min ? 4 : 2, kHigh = bits == 5 ? 4 : 0, kBytes = kHead + kHigh + (bits == 8 ? 32 : 16);
  for (size_t g = 0; g < d.size(); ++g, b += kBytes) {
    d[g] = u16(b);
    if constexpr (with_min) {
      m[g] = u16(b + 2);
    } else {
      const float least = -static_cast<float>(1 << (bits - 1)) * from_f16(d[g]);
      m[g] = tensor::to_f16(least);
      if (from_f16(m[g]) != least) return false;
    }
    uint8_t* to = q.data() + g * 32;
    if constexpr (bits == 8) {
      for (size_t j = 0; j < 32; ++j) to[j] = b[kHead + j] ^ 0x80;
    } else {
      const uint32_t high = bits == 5 ? u32(b + kHead) : 0;
      uint8_t nibbles[16];  // a copy, so that the compiler may take them all at once
      std::memcpy(nibbles, b + kHead + kHigh, sizeof(nibbles));
      for (size_t j = 0; j < 16; ++j) {
        to[j] = static_cast<uint8_t>((nibbles[j] & 15) | (high >> j & 1) << 4);
        to[16 + j] = static_cast<uint8_t>(nibbles[j] >> 4 | (high >> (16 + j) & 1) << 4);
      }
    }
  }
  return true;
}

}  // namespace

bool decode_groups(DType type, const std::byte* data, int q_most, std::span<uint16_t> d, std::span<uint16_t> m, std::span<uint8_t> q) {
  const auto* b = reinterpret_cast<const uint8_t*>(data);
  switch (type) {
    case DType::kQ4_0: return q_most >= 15 && groups32<4, false>(b, d, m, q);
    case DType::kQ4_1: return q_most >= 15 && groups32<4, true>(b, d, m, q);
    case DType::kQ5_0: return q_most >= 31 && groups32<5, false>(b, d, m, q);
    case DType::kQ5_1: return q_most >= 31 && groups32<5, true>(b, d, m, q);
    case DType::kQ8_0: return q_most >= 255 && groups32<8, false>(b, d, m, q);
    default: return false;
  }
}

}  // namespace colony::model
