// colony-parquet FILE COLUMN...: the rows of a Parquet file as JSON lines on standard output, a line a row, of
// the named columns those that the file has. Null members are left out.
//
// A program of its own: Apache Arrow is 60 MB that only this needs, and a damaged file ends this process alone.
// Status 1 and one line on standard error: not Parquet, damaged, none of the columns, a type with no JSON form.
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/exception.h>

#include <cmath>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::data {
namespace {

constexpr int64_t kRowsAtOnce = 1024;

Error of_arrow(const arrow::Status& status) { return invalid("{}", status.message()); }

Result<Json> value_of(const arrow::Array& array, int64_t i);

Result<Json> list_of(const arrow::Array& items, int64_t from, int64_t count) {
  Json list = Json::array();
  for (int64_t i = from; i < from + count; ++i) {
    ASSIGN_OR_RETURN(Json value, value_of(items, i));
    list.push_back(std::move(value));
  }
  return list;
}

template <class ListArray>
Result<Json> list_at(const arrow::Array& array, int64_t i) {
  const auto& list = static_cast<const ListArray&>(array);
  return list_of(*list.values(), list.value_offset(i), list.value_length(i));
}

template <class Scalars>
auto scalar_at(const arrow::Array& array, int64_t i) {
  return static_cast<const Scalars&>(array).Value(i);
}
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Result<Json> value_of(const arrow::Array& array, int64_t i) {
  if (array.IsNull(i)) return Json(nullptr);
  switch (array.type_id()) {
    case arrow::Type::STRING: return Json(static_cast<const arrow::StringArray&>(array).GetString(i));
    case arrow::Type::LARGE_STRING: return Json(static_cast<const arrow::LargeStringArray&>(array).GetString(i));
    case arrow::Type::BOOL: return Json(scalar_at<arrow::BooleanArray>(array, i));
    case arrow::Type::INT8: return Json(scalar_at<arrow::Int8Array>(array, i));
    case arrow::Type::INT16: return Json(scalar_at<arrow::Int16Array>(array, i));
    case arrow::Type::INT32: return Json(scalar_at<arrow::Int32Array>(array, i));
    case arrow::Type::INT64: return Json(scalar_at<arrow::Int64Array>(array, i));
    case arrow::Type::UINT8: return Json(scalar_at<arrow::UInt8Array>(array, i));
    case arrow::Type::UINT16: return Json(scalar_at<arrow::UInt16Array>(array, i));
    case arrow::Type::UINT32: return Json(scalar_at<arrow::UInt32Array>(array, i));
    case arrow::Type::UINT64: return Json(scalar_at<arrow::UInt64Array>(array, i));
    case arrow::Type::FLOAT: return number(static_cast<double>(scalar_at<arrow::FloatArray>(array, i)));
    case arrow::Type::DOUBLE: return number(scalar_at<arrow::DoubleArray>(array, i));
    case arrow::Type::LIST: return list_at<arrow::ListArray>(array, i);
    case arrow::Type::LARGE_LIST: return list_at<arrow::LargeListArray>(array, i);
    case arrow::Type::FIXED_SIZE_LIST: return list_at<arrow::FixedSizeListArray>(array, i);
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
      return value_of(*dictionary.dictionary(), dictionary.GetValueIndex(i));
    }
    case arrow::Type::STRUCT: {
      const auto& record = static_cast<const arrow::StructArray&>(array);
      Json object = Json::object();
      for (int field = 0; field < record.num_fields(); ++field) {
        const std::string& name = record.struct_type()->field(field)->name();
        auto value = value_of(*record.field(field), i);
        if (!value) return std::move(value).error().in(name);
        if (!value->is_null()) object[name] = std::move(*value);
      }
      return object;
    }
    default: return invalid("type {} has no form in JSON lines", array.type()->ToString());
  }
}

// The leaves of a field: what is read of a file is chosen by them.
void add_leaves(const parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
  if (field.is_leaf()) leaves.push_back(field.column_index);
  for (const auto& child : field.children) add_leaves(child, leaves);
}

Status print_rows(const arrow::RecordBatch& batch, int64_t before) {
  if (const auto sound = batch.ValidateFull(); !sound.ok()) return of_arrow(sound);  // offsets in bounds, text is UTF-8
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    Json row = Json::object();
    for (int c = 0; c < batch.num_columns(); ++c) {
      auto value = value_of(*batch.column(c), i);
      if (!value) return std::move(value).error().in(fmt::format("row {}: {}", before + i + 1, batch.column_name(c)));
      if (!value->is_null()) row[batch.column_name(c)] = std::move(*value);
    }
    const std::string line = row.dump() + "\n";
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) return unavailable("standard output is closed");
  }
  return {};
}

Status print_file(const std::string& path, std::span<char* const> columns) {
  auto file = arrow::io::ReadableFile::Open(path);
  if (!file.ok()) return of_arrow(file.status());
  parquet::arrow::FileReaderBuilder builder;
  if (const auto opened = builder.Open(*file); !opened.ok()) return of_arrow(opened);
  parquet::ArrowReaderProperties properties;
  properties.set_batch_size(kRowsAtOnce);
  auto made = builder.properties(properties)->Build();
  if (!made.ok()) return of_arrow(made.status());
  auto& reader = **made;
  std::vector<int> leaves, groups;
  std::string has;
  for (const auto& field : reader.manifest().schema_fields) {
    const std::string& name = field.field->name();
    for (const char* wanted : columns) {
      if (name == wanted) add_leaves(field, leaves);
    }
    has += (has.empty() ? "" : ", ") + name;
  }
  if (leaves.empty()) return invalid("it has none of the columns that are read; it has: {}", has.substr(0, 400));
  for (int i = 0; i < reader.num_row_groups(); ++i) groups.push_back(i);
  auto batches = reader.GetRecordBatchReader(groups, leaves);
  if (!batches.ok()) return of_arrow(batches.status());
  for (int64_t rows = 0;;) {
    auto batch = (*batches)->Next();
    if (!batch.ok()) return of_arrow(batch.status());
    if (*batch == nullptr) break;
    RETURN_IF_ERROR(print_rows(**batch, rows));
    rows += (*batch)->num_rows();
  }
  if (std::fflush(stdout) != 0) return unavailable("standard output is closed");
  return {};
}

}  // namespace
}  // namespace colony::data

int main(int count, char** words) {
  if (count < 3) {
    std::fputs("usage: colony-parquet FILE COLUMN...\n", stderr);
    return 2;
  }
  colony::Status done;
  try {
    done = colony::data::print_file(words[1], std::span<char* const>(words + 2, static_cast<size_t>(count - 2)));
  } catch (const std::exception& problem) {  // Parquet's own errors, and a file that asks for more memory than there is
    done = colony::invalid("{}", problem.what());
  }
  if (done) return 0;
  std::fprintf(stderr, "colony-parquet: %s: %s\n", words[1], done.error().message.c_str());
  return 1;
}
