// The YAML front matter of an agent written as one Markdown file: the part of YAML that such files
// use, and a clear error for the rest.
#pragma once
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace colony::agent {

struct FrontMatter {
  Json fields = Json::object();  // string, or list of strings
  std::string body;              // what stands behind the closing line
};

// "---", then "key: value" lines (plain or quoted scalars, [a, b], "- a" lists, | and > blocks), then
// "---" and the body. Fails kInvalid with the line: no front matter, nested mappings, anchors, tabs.
Result<FrontMatter> parse_front_matter(std::string_view text);

}  // namespace colony::agent
