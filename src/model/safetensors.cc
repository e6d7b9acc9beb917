#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace colony::model {
namespace {

constexpr uint64_t kHeaderBytesMax = 100'000'000;

// Bits of one number; 0 when the type is not known.
uint64_t dtype_bits(std::string_view dtype) {
  static const std::map<std::string_view, uint64_t> kBits = {
      {"BOOL", 8},         {"U8", 8},          {"I8", 8},           {"F8_E5M2", 8}, {"F8_E4M3", 8},
      {"F8_E8M0", 8},      {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},  {"I16", 16},    {"U16", 16},
      {"F16", 16},         {"BF16", 16},       {"I32", 32},         {"U32", 32},    {"F32", 32},
      {"C64", 64},         {"F64", 64},        {"I64", 64},         {"U64", 64},    {"F4", 4},
      {"F6_E2M3", 6},      {"F6_E3M2", 6}};
  const auto at = kBits.find(dtype);
  return at == kBits.end() ? 0 : at->second;
}

bool is_unsigned(const Json& value) {
  return value.is_number_unsigned() || (value.is_number_integer() && value.get<int64_t>() >= 0);
}

}  // namespace

DType plain_type(std::string_view dtype) {
  if (dtype == "F32") return DType::kF32;
  if (dtype == "F16") return DType::kF16;
  if (dtype == "BF16") return DType::kBf16;
  if (dtype == "F64") return DType::kF64;
  return DType::kOther;
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 512));
  RETURN_IF_ERROR(check_not_mistaken(start, name));
  if (start.starts_with("GGUF")) return corrupt("{}: this is a GGUF file; name it .gguf and give it as the model itself", name);
  if (start.starts_with('{')) return corrupt("{}: this is JSON text, such as a server's error, not safetensors; fetch the file again", name);
  if (bytes.size() < 8) return corrupt("{}: {} bytes, a safetensors file has at least 8", name, bytes.size());
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  if (header > kHeaderBytesMax) {
    return corrupt("{}: header length {} is above the limit of {} bytes", name, header, kHeaderBytesMax);
  }
  if (header > bytes.size() - 8) {
    return corrupt("{}: header length {} does not fit the file's {} bytes; is it cut short? Fetch it again", name, header, bytes.size());
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header);
  if (text.empty() || text[0] != '{') return corrupt("{}: the header does not begin with '{{'", name);
  auto json = parse_json(text, {.depth_max = 8, .unique_keys = true});
  if (!json) return corrupt("{}: header: {}", name, json.error().message);
  if (!json->is_object()) return corrupt("{}: the header is {}, expected an object", name, json_kind(*json));

  SafetensorsFile file;
  file.name_ = name;
  file.header_bytes_ = header;
  const auto data = bytes.subspan(8 + header);
  struct Range {
    uint64_t begin, end;
    const std::string* tensor;
  };
  std::vector<Range> ranges;
  for (const auto& [key, value] : json->items()) {
    if (key == "__metadata__") {
      if (!value.is_object()) return corrupt("{}: __metadata__ is {}, expected an object", name, json_kind(value));
      for (const auto& [k, v] : value.items()) {
        if (!v.is_string()) return corrupt("{}: __metadata__.{} is {}, expected a string", name, k, json_kind(v));
        file.metadata_[k] = v.get<std::string>();
      }
      continue;
    }
    if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
      return corrupt("{}: tensor {}: expected an object with dtype, shape and data_offsets", name, key);
    }
    const Json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
    if (!dtype.is_string()) return corrupt("{}: tensor {}: dtype is {}, expected a string", name, key, json_kind(dtype));
    SafeTensor tensor;
    tensor.dtype = dtype.get<std::string>();
    const uint64_t bits = dtype_bits(tensor.dtype);
    if (bits == 0) return corrupt("{}: tensor {}: unknown dtype {}", name, key, tensor.dtype);
    if (!shape.is_array()) return corrupt("{}: tensor {}: shape is {}, expected an array", name, key, json_kind(shape));
    uint64_t total_bits = bits;
    for (const auto& size : shape) {
      if (!is_unsigned(size)) {
        return corrupt("{}: tensor {}: shape holds {}, expected whole numbers from 0", name, key, to_line(size));
      }
      tensor.shape.push_back(size.get<uint64_t>());
      if (__builtin_mul_overflow(total_bits, tensor.shape.back(), &total_bits)) {
        return corrupt("{}: tensor {}: shape {} overflows 64 bits", name, key, to_line(shape));
      }
    }
    if (!offsets.is_array() || offsets.size() != 2 || !is_unsigned(offsets[0]) || !is_unsigned(offsets[1])) {
      return corrupt("{}: tensor {}: data_offsets is {}, expected two whole numbers from 0", name, key,
                     to_line(offsets));
    }
    const auto begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    if (end < begin || end > data.size()) {
      return corrupt("{}: tensor {}: data_offsets [{}, {}] do not fit the {} bytes of data{}", name, key, begin,
                     end, data.size(), end < begin ? "" : "; is the file cut short? Fetch it again");
    }
    if (total_bits % 8 != 0 || total_bits / 8 != end - begin) {
      return corrupt("{}: tensor {}: {} {} takes {} bits, data_offsets give {} bytes", name, key, tensor.dtype,
                     to_line(shape), total_bits, end - begin);
    }
    tensor.data = data.subspan(begin, end - begin);
    const auto placed = file.tensors_.emplace(key, std::move(tensor));
    ranges.push_back({begin, end, &placed.first->first});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t expected = 0;
  for (const auto& range : ranges) {
    if (range.begin != expected) {
      return corrupt("{}: tensor {} begins at byte {}, expected {}: data must have no holes and no overlaps", name,
                     *range.tensor, range.begin, expected);
    }
    expected = range.end;
  }
  if (expected != data.size()) {
    return corrupt("{}: the tensors end at byte {} of the data, the file at {}", name, expected, data.size());
  }
  return file;
}

Result<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(auto mapped, MappedFile::open(path));
  ASSIGN_OR_RETURN(auto file, parse(mapped->bytes(), path.string()));
  file.file_ = std::move(mapped);
  return std::make_shared<const SafetensorsFile>(std::move(file));
}

Result<std::vector<std::shared_ptr<const SafetensorsFile>>> open_checkpoint(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<std::shared_ptr<const SafetensorsFile>> files;
  std::error_code ignored;
  const auto single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  if (fs::exists(single, ignored)) {
    ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(single));
    files.push_back(std::move(file));
    return files;
  }
  if (!fs::exists(index, ignored)) {
    const bool pickled = fs::exists(folder / "pytorch_model.bin", ignored) ||
                         fs::exists(folder / "pytorch_model.bin.index.json", ignored);
    return not_found("{} holds neither model.safetensors nor model.safetensors.index.json{}", folder.string(),
                     pickled ? "; pytorch_model.bin is a pickle, which can run code and is not read: convert it "
                               "to safetensors"
                             : "");
  }
  const std::string what = index.string();
  ASSIGN_OR_RETURN(const auto text, read_file(index, 64 << 20));
  RETURN_IF_ERROR(check_not_mistaken(text, what));
  auto json = parse_json(text, {.depth_max = 8, .unique_keys = true});
  if (!json) return corrupt("{}: {}", what, json.error().message);
  if (!json->is_object() || !json->contains("weight_map") || !(*json)["weight_map"].is_object()) {
    return corrupt("{}: expected an object with a weight_map object", what);
  }
  std::map<std::string, std::vector<std::string>> by_shard;
  for (const auto& [tensor, shard] : (*json)["weight_map"].items()) {
    if (!shard.is_string()) return corrupt("{}: weight_map.{} is {}, expected a file name", what, tensor, json_kind(shard));
    const auto name = shard.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\\') != std::string::npos ||
        name.find("..") != std::string::npos) {
      return corrupt("{}: weight_map.{} names \"{}\", expected a file name without a path", what, tensor, name);
    }
    by_shard[name].push_back(tensor);
  }
  for (const auto& [name, tensors] : by_shard) {
    ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(folder / name));
    for (const auto& tensor : tensors) {
      if (!file->tensors().contains(tensor)) {
        return corrupt("{}: weight_map puts {} into {}, which does not hold it", what, tensor, name);
      }
    }
    files.push_back(std::move(file));
  }
  if (files.empty()) return corrupt("{}: weight_map is empty", what);
  return files;
}

Status write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                         const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    const auto bits_a = dtype_bits(a.dtype), bits_b = dtype_bits(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });
  Json header = Json::object();
  if (!metadata.empty()) {
    for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  }
  uint64_t offset = 0;
  for (const auto& tensor : tensors) {
    uint64_t bits = dtype_bits(tensor.dtype);
    for (const uint64_t size : tensor.shape) bits *= size;
    if (bits == 0 ? !tensor.data.empty() : bits / 8 != tensor.data.size()) {
      return invalid("writing {}: tensor {} has {} bytes, its shape and dtype say {}", path.string(), tensor.name,
                     tensor.data.size(), bits / 8);
    }
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = to_line(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string bytes(8, '\0');
  const uint64_t size = text.size();
  std::memcpy(bytes.data(), &size, 8);
  bytes += text;
  bytes.reserve(bytes.size() + offset);
  for (const auto& tensor : tensors) {
    bytes.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return write_file(path, bytes);
}

}  // namespace colony::model
