// Bytes between nodes, and what a node saved: refused with an error, or they come out as they went in
// and a node that takes them says only numbers.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"
#include "swarm/node.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace colony;
  using namespace colony::swarm;
  // The hash is made right, so that what lies behind it is reached.
  std::string bytes(reinterpret_cast<const char*>(data), size);
  const uint64_t hash = fnv1a(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  const auto message = decode(bytes);
  if (!message) return 0;
  CHECK(encode(*message) == bytes, "a message that comes out otherwise than it went in");
  Node node(NodeOptions{});
  node.step(AgentBorn{1, "one"}, {});
  node.step(PeerJoined{2}, {});
  node.step(Received{*message}, {1, 1});
  for (const auto& effect : node.step(Received{Announce{7, 0, {1}, 10, 0}}, {2, 2})) {
    const auto* send = std::get_if<Send>(&effect);
    const auto* bid = send != nullptr ? std::get_if<Bid>(&send->message) : nullptr;
    if (bid != nullptr) CHECK(std::isfinite(bid->index), "a bid that is no number");
  }
  return 0;
}
