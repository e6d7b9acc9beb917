// What an answer may look like, checked byte by byte while it is decoded.
//
// An acceptor is a set of byte strings: a list of choices, or the JSON texts valid under a schema.
// The engine asks it for every candidate token (as bytes) and takes the best one that fits.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace colony::text {

class Acceptor {
 public:
  virtual ~Acceptor() = default;
  // A position inside the set; small, copyable through clone().
  class State {
   public:
    virtual ~State() = default;
    virtual std::unique_ptr<State> clone() const = 0;
    // Moves on by `bytes`. False when no member of the set goes on so; the state is then undefined.
    virtual bool advance(std::string_view bytes) = 0;
    // True when what was read so far is a whole member.
    virtual bool complete() const = 0;
    // True when complete and nothing can follow.
    virtual bool exhausted() const = 0;
  };
  virtual std::unique_ptr<State> start() const = 0;
};

// One of `choices`, exactly. Fails kInvalid when empty or a choice is empty or given twice.
Result<std::shared_ptr<const Acceptor>> make_choices(std::vector<std::string> choices);

// Compact or lightly spaced JSON valid under `schema`: type object (properties in the order given,
// required ones must come, additionalProperties not allowed), array (items, minItems, maxItems),
// string (enum, const, minLength, maxLength, pattern not supported), integer, number, boolean, null,
// enum, const, anyOf. Fails kInvalid naming the keyword that is not supported.
Result<std::shared_ptr<const Acceptor>> make_json_schema(const Json& schema);

// Fails kInvalid with keyword and JSON pointer when `schema` says what schema_problem() cannot judge.
// Keywords that no draft knows (x-…, nullable) are annotations and say nothing.
Status schema_is_judged(const Json& schema);

// Validation of a finished value under the same subset plus minimum/maximum/pattern; "" or what is
// wrong, with the path.
std::string schema_problem(const Json& schema, const Json& value);

}  // namespace colony::text
