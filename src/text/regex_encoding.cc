#include "text/regex_encoding.h"

namespace colony::text {

OnigEncoding regex_encoding() { return ONIG_ENCODING_UTF8; }

}  // namespace colony::text
