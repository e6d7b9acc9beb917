// UTF-8 with Unicode 16 for Oniguruma: Debian's library has the tables of Unicode 14, and the
// tokenizers library those of 16. What is missing is in unicode_delta.inc.
#pragma once
#include <oniguruma.h>

namespace colony::text {

// Made at the first call, never freed. Threads: any.
OnigEncoding regex_encoding();

}  // namespace colony::text
