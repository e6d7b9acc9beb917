// Task lines and the checks they ask for, from outside: any bytes must end in tasks or problems.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "data/check.h"
#include "data/task_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto file = data::parse_tasks(bytes, "");
  if (!file) return 0;
  for (const auto& task : file->tasks) {
    CHECK(!task.id.empty() && !task.kind.empty(), "every task has an id and a kind");
    CHECK(!data::task_text(task).empty() || task.messages.is_array(), "every task asks something");
    (void)to_line(data::unknown_fields(task));
    if (task.check.empty() || task.check.starts_with("schema:") ||
        task.check.starts_with("script:")) {
      continue;  // those read files
    }
    auto check = data::Check::make(task.check, "", nullptr);
    CHECK(check.has_value(), "the reader let a bad check through");
    for (const auto output : {task.answer ? std::string_view(*task.answer) : std::string_view(),
                              std::string_view(task.prompt), bytes.substr(0, 256)}) {
      const auto score = (*check)->score(task, output);
      CHECK(!score || (*score >= 0 && *score <= 1), "a score left [0, 1]");
    }
  }
  return 0;
}
