#include "app/places.h"

#include "agent/place.h"
#include "app/console.h"

namespace colony::app {

Result<std::vector<swarm::Place>> places_of(Session& session, const std::filesystem::path& home, std::span<const std::string> texts,
                                            const std::function<std::string(size_t)>& name_of) {
  ASSIGN_OR_RETURN(const auto placer, agent::Placer::create(*session.engine, home));
  std::vector<swarm::Place> places(texts.size());
  Progress progress("places", session.clock);
  Status failed;
  int64_t done = 0;
  const int status = run_all(
      *session.engine, texts.size(), [&](size_t i) -> Asked { return agent::Placer::request(*session.snapshot, texts[i]); },
      [&](size_t i, Result<engine::Output> output) {
        progress.show(++done, static_cast<int64_t>(texts.size()), "");
        if (!output || output->error) {
          failed = Error(output ? *output->error : output.error()).in(fmt::format("the place of {}", name_of(i)));
          return;
        }
        auto place = placer.place(output->values);
        if (place) places[i] = *place;
        else failed = std::move(place).error().in(fmt::format("the place of {}", name_of(i)));
      });
  progress.clear();
  if (status == kInterrupted) return cancelled("interrupted");
  if (!failed) return failed.error();
  return places;
}

}  // namespace colony::app
