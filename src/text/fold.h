// White space and case by Unicode's rules, for comparing texts.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace colony::text {

// Without White_Space characters at both ends. Points into `text`. Threads: any, as all here.
std::string_view trim(std::string_view text);
// The runs between White_Space characters; no empty ones. Points into `text`.
std::vector<std::string_view> split_space(std::string_view text);
// Lower case, root locale; broken UTF-8 becomes U+FFFD.
std::string lower(std::string_view text);
// Full case folding ("Straße" and "STRASSE" are equal); broken UTF-8 becomes U+FFFD.
std::string fold_case(std::string_view text);

}  // namespace colony::text
