#include "text/regex_encoding.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "text/unicode_tables.h"

namespace colony::text {
namespace {

constexpr OnigCtype kFreshFrom = 100'000;  // numbers of properties that Oniguruma does not have
constexpr OnigCtype kPunctuation = kFreshFrom - 1;

// A property's ranges as Oniguruma keeps them: how many, then first and last of each.
using Table = std::vector<OnigCodePoint>;

struct Tables {
  bool one_punctuation = false;  // before 6.9.9 [[:punct:]] was \p{Punct}; since, it has the symbols too
  std::map<OnigCtype, Table> sets;
  std::map<std::string, OnigCtype, std::less<>> fresh;
  std::map<OnigCodePoint, OnigCodePoint> partner;  // the other case
};

OnigEncodingType& base() { return OnigEncodingUTF8; }

Table flat(const std::vector<tables::Range>& ranges) {
  Table table{static_cast<OnigCodePoint>(ranges.size())};
  for (const auto& r : ranges) table.insert(table.end(), {r.low, r.high});
  return table;
}

std::vector<tables::Range> joined(std::vector<tables::Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.low < b.low; });
  std::vector<tables::Range> out;
  for (const auto& r : ranges) {
    if (!out.empty() && r.low <= out.back().high + 1) out.back().high = std::max(out.back().high, r.high);
    else out.push_back(r);
  }
  return out;
}

std::vector<tables::Range> without(const std::vector<tables::Range>& ranges, std::span<const tables::Range> taken) {
  std::vector<tables::Range> out;
  for (auto r : ranges) {
    bool left = true;
    for (const auto& t : taken) {
      if (t.high < r.low || t.low > r.high) continue;
      if (t.low > r.low) out.push_back({r.low, t.low - 1});
      if (t.high >= r.high) {
        left = false;
        break;
      }
      r.low = t.high + 1;
    }
    if (left) out.push_back(r);
  }
  return out;
}

Tables build() {
  Tables t;
  for (const auto& change : tables::changes()) {
    std::string name = change.name;
    auto* begin = reinterpret_cast<OnigUChar*>(name.data());
    const int ctype = base().property_name_to_ctype(&base(), begin, begin + name.size());
    OnigCodePoint outside = 0;
    const OnigCodePoint* old = nullptr;
    if (ctype < 0 || base().get_ctype_code_range(static_cast<OnigCtype>(ctype), &outside, &old) != 0) continue;
    std::vector<tables::Range> ranges;
    for (OnigCodePoint i = 0; i < old[0]; ++i) ranges.push_back({old[1 + 2 * i], old[2 + 2 * i]});
    for (const auto& r : tables::ranges(change.added)) ranges.push_back(r);
    t.sets[static_cast<OnigCtype>(ctype)] = flat(without(joined(std::move(ranges)), tables::ranges(change.removed)));
  }
  OnigCtype next = kFreshFrom;
  for (const auto& fresh : tables::fresh()) {
    const auto ranges = tables::ranges(fresh.all);
    t.sets[next] = flat({ranges.begin(), ranges.end()});
    t.fresh[fresh.name] = next++;
  }
  std::string punct = "punct";
  auto* const begin = reinterpret_cast<OnigUChar*>(punct.data());
  t.one_punctuation = base().property_name_to_ctype(&base(), begin, begin + punct.size()) == ONIGENC_CTYPE_PUNCT;
  if (t.one_punctuation) {
    t.sets[kPunctuation] = t.sets[ONIGENC_CTYPE_PUNCT];
    t.sets[ONIGENC_CTYPE_PUNCT] = t.sets[t.fresh["posixpunct"]];
  }
  for (const auto& [small, capital] : tables::folds()) {
    t.partner[small] = capital;
    t.partner[capital] = small;
  }
  return t;
}

const Tables& known() {
  static const Tables tables = build();
  return tables;
}

int name_to_ctype(OnigEncoding, OnigUChar* begin, OnigUChar* end) {
  const int ctype = base().property_name_to_ctype(&base(), begin, end);
  if (ctype == ONIGENC_CTYPE_PUNCT && known().one_punctuation) return kPunctuation;
  if (ctype >= 0) return ctype;
  std::string name;
  for (const OnigUChar* p = begin; p < end; ++p) {
    if (*p == ' ' || *p == '-' || *p == '_') continue;
    name += static_cast<char>(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
  }
  const auto at = known().fresh.find(name);
  return at == known().fresh.end() ? ctype : static_cast<int>(at->second);
}

int code_range(OnigCtype ctype, OnigCodePoint* outside, const OnigCodePoint* ranges[]) {
  const auto at = known().sets.find(ctype);
  if (at == known().sets.end()) return base().get_ctype_code_range(ctype, outside, ranges);
  *outside = 0x80;  // from here on characters have more than one byte
  *ranges = at->second.data();
  return 0;
}

int is_ctype(OnigCodePoint code, OnigCtype ctype) {
  // Nothing below is new, and texts are mostly that.
  if (code < 0x370 && ctype <= ONIGENC_CTYPE_ASCII && ctype != ONIGENC_CTYPE_PUNCT) return base().is_code_ctype(code, ctype);
  if (ctype == ONIGENC_CTYPE_WORD && base().is_code_ctype(code, ctype) != 0) return 1;
  const auto at = known().sets.find(ctype);
  if (at == known().sets.end()) return base().is_code_ctype(code, ctype);
  OnigCodePoint low = 0, high = at->second[0];
  while (low < high) {
    const OnigCodePoint middle = (low + high) / 2;
    if (code > at->second[2 + 2 * middle]) low = middle + 1;
    else high = middle;
  }
  return low < at->second[0] && code >= at->second[1 + 2 * low] ? 1 : 0;
}

int all_folds(OnigCaseFoldType flag, OnigApplyAllCaseFoldFunc apply, void* arg) {
  if (const int code = base().apply_all_case_fold(flag, apply, arg); code != 0) return code;
  if ((flag & ONIGENC_CASE_FOLD_ASCII_ONLY) != 0) return 0;
  for (const auto& [from, to] : known().partner) {
    OnigCodePoint other = to;
    if (const int code = apply(from, &other, 1, arg); code != 0) return code;
  }
  return 0;
}

int folds_of(OnigCaseFoldType flag, const OnigUChar* p, const OnigUChar* end, OnigCaseFoldCodeItem items[]) {
  const int count = base().get_case_fold_codes_by_str(flag, p, end, items);
  if (count != 0 || p >= end || (flag & ONIGENC_CASE_FOLD_ASCII_ONLY) != 0) return count;
  const auto at = known().partner.find(base().mbc_to_code(p, end));
  if (at == known().partner.end()) return count;
  items[0].byte_len = base().mbc_enc_len(p);
  items[0].code_len = 1;
  items[0].code[0] = at->second;
  return 1;
}

int fold(OnigCaseFoldType flag, const OnigUChar** p, const OnigUChar* end, OnigUChar* to) {
  if (**p >= 0x80 && (flag & ONIGENC_CASE_FOLD_ASCII_ONLY) == 0) {
    const OnigCodePoint code = base().mbc_to_code(*p, end);
    for (const auto& [small, capital] : tables::folds()) {
      if (code != capital) continue;
      *p += base().mbc_enc_len(*p);
      return base().code_to_mbc(small, to);
    }
  }
  return base().mbc_case_fold(flag, p, end, to);
}

}  // namespace

OnigEncoding regex_encoding() {
  static OnigEncodingType encoding = [] {
    OnigEncodingType e = base();
    e.mbc_case_fold = fold;
    e.apply_all_case_fold = all_folds;
    e.get_case_fold_codes_by_str = folds_of;
    e.property_name_to_ctype = name_to_ctype;
    e.is_code_ctype = is_ctype;
    e.get_ctype_code_range = code_range;
    return e;
  }();
  return &encoding;
}

}  // namespace colony::text
