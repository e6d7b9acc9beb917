// Places of texts, computed by an engine that does nothing else meanwhile.
#pragma once
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "app/session.h"
#include "base/result.h"
#include "swarm/messages.h"

namespace colony::app {

// One a text, as a run makes them (agent/place.h); `home` as there. name_of: what to call text i in an error. Fails with the first that
// has no place, kCancelled when interrupted.
Result<std::vector<swarm::Place>> places_of(Session& session, const std::filesystem::path& home, std::span<const std::string> texts,
                                            const std::function<std::string(size_t)>& name_of);

}  // namespace colony::app
