// Bids of agents that do one task after another: how long a task would wait, and what its deadline takes from them.
#include "swarm/work_queue.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "swarm/drift_bench.h"
#include "swarm/host_test.h"
#include "swarm/parts_bench.h"

namespace colony::swarm {
namespace {

TEST(WorkQueue, AddsUpWhatIsExpectedAndTakesOffWhatIsDone) {
  WorkQueue queue;
  EXPECT_EQ(queue.wait_ms(500), 0);
  queue.begin(1, 900, 1000);
  queue.begin(2, 300, 1100);
  queue.begin(3, 600, 1200);
  EXPECT_EQ(queue.wait_ms(1000), 1800);
  EXPECT_EQ(queue.wait_ms(1600), 1200);
  EXPECT_EQ(queue.wait_ms(900), 1800) << "a clock that goes back";
  queue.end(2, 1600);  // withdrawn before it began
  EXPECT_EQ(queue.wait_ms(1600), 900);
  queue.end(7, 1600);  // never there
  EXPECT_EQ(queue.wait_ms(1600), 900);
  queue.end(1, 2000);
  EXPECT_EQ(queue.wait_ms(2000), 600) << "the next one begins now";
  EXPECT_EQ(queue.wait_ms(2300), 300);
  queue.end(3, 2500);
  EXPECT_EQ(queue.wait_ms(2500), 0);
  queue.begin(4, 100, 9000);
  EXPECT_EQ(queue.wait_ms(9050), 50) << "idle time is nobody's";
}

TEST(WorkQueue, WhoHangsLooksEverBusierAndNothingGrowsWithoutEnd) {
  WorkQueue queue;
  queue.begin(1, 300, 0);
  double last = 0;
  for (uint64_t now = 600; now < 100'000; now += 1000) {
    EXPECT_GT(queue.wait_ms(now), last);
    last = queue.wait_ms(now);
  }
  EXPECT_NEAR(last, 99'600 / 3.0, 1);
  WorkQueue flooded;
  for (TaskId task = 0; task < 3 * WorkQueue::kMost; ++task) flooded.begin(task, 1, 0);
  EXPECT_EQ(flooded.wait_ms(0), WorkQueue::kMost);
}

TEST(WorkQueue, ADeadlineTakesWhatIsLikelyToComeTooLate) {
  EXPECT_NEAR(in_time(.8, 0, 8000, 2000), .8 * (1 - std::exp(-4)), 1e-12);
  EXPECT_NEAR(in_time(.8, 4000, 8000, 2000), .8 * (1 - std::exp(-2)) - .175, 1e-12);
  EXPECT_EQ(in_time(.8, 0, 8000, 0), .8) << "of unknown length: in time";
  EXPECT_NEAR(in_time(.8, 9000, 8000, 2000), -.35 * 9 / 8, 1e-12);
  for (double wait = 0; wait < 9000; wait += 250) EXPECT_GT(in_time(.8, wait, 8000, 2000), in_time(.8, wait + 250, 8000, 2000));
}

// A host whose agents have answered in 1,000 ms each, all as well.
Host experienced(bool queues) {
  NodeOptions options{.id = 0, .seed = 5};
  options.queues = queues;
  Host host(options);
  for (TaskId task = 1; task <= 60; ++task) {
    host.announce(task);
    host.outcome(task, 1 + task % 3, 1, 10, 1000);
  }
  return host;
}

std::map<AgentId, Bid> by_agent(Host& host, TaskId task, double deadline_ms) {
  ++host.now.task_time;
  std::map<AgentId, Bid> found;
  for (const Bid& bid : bids_of(host.node.step(Received{Announce{task, 9, place_of(task, 5), 1, 0, {}, deadline_ms}}, host.now))) found[bid.agent] = bid;
  return found;
}

TEST(NodeQueues, BidsSayHowLongATaskWouldWaitAndLoseByIt) {
  Host host = experienced(true);
  for (TaskId task = 101; task <= 103; ++task) host.assign(task, 2);
  host.assign(104, 3);
  const auto bids = by_agent(host, 200, 8000);
  ASSERT_EQ(bids.size(), 3U);
  EXPECT_EQ(bids.at(1).wait_ms, 0);
  EXPECT_NEAR(static_cast<double>(bids.at(2).wait_ms), 3000, 30);
  EXPECT_NEAR(static_cast<double>(bids.at(3).wait_ms), 1000, 10);
  const auto index = [](const Bid& bid) { return in_time(bid.mean + bid.recent + 2 * bid.deviation, static_cast<double>(bid.wait_ms), 8000, static_cast<double>(bid.ms)); };
  for (const auto& [agent, bid] : bids) EXPECT_NEAR(bid.index, index(bid), 1e-4) << agent;
  // Without a deadline the queue is told and takes nothing.
  for (const auto& [agent, bid] : by_agent(host, 201, 0)) EXPECT_NEAR(bid.index, bid.mean + bid.recent + 2 * bid.deviation, 1e-12) << agent;
  // Who would come too late says nothing.
  EXPECT_FALSE(by_agent(host, 202, 3600).contains(2));
  EXPECT_TRUE(by_agent(host, 203, 3900).contains(2));
  // The work goes on, and ends.
  host.now.ms = 700;
  EXPECT_NEAR(static_cast<double>(by_agent(host, 204, 8000).at(2).wait_ms), 2300, 30);
  host.outcome(101, 2, 1, 10, 700);
  host.node.step(TaskWithdrawn{102}, host.now);
  EXPECT_NEAR(static_cast<double>(by_agent(host, 205, 8000).at(2).wait_ms), 1000, 40);
  host.outcome(103, 2, 1, 10, 700);
  EXPECT_EQ(by_agent(host, 206, 8000).at(2).wait_ms, 0);
  // Off, all of this is nobody's matter.
  Host off = experienced(false);
  for (TaskId task = 101; task <= 103; ++task) off.assign(task, 2);
  for (const auto& [agent, bid] : by_agent(off, 200, 10)) {
    EXPECT_EQ(bid.wait_ms, 0);
    EXPECT_NEAR(bid.index, bid.mean + bid.recent + 2 * bid.deviation, 1e-12);
  }
}

TEST(NodeQueues, TheDeadlineRunsFromTheTasksEntryAndNonsenseIsNone) {
  NodeOptions options{.id = 9};
  options.bid_window = 10;
  Node asker(options);
  const auto announced = [](const std::vector<Effect>& effects) {
    for (const auto& send : all<Send>(effects)) {
      if (const auto* announce = std::get_if<Announce>(&send.message)) return announce->deadline_ms;
    }
    return -1.0;
  };
  EXPECT_EQ(announced(asker.step(TaskEntered{1, place_of(1, 5), 10, 0, 8000}, {1, 1, 500})), 8000);
  EXPECT_EQ(announced(asker.step(Tick{}, {1, 11, 3500})), 5000) << "asked anew: nobody had answered";
  EXPECT_EQ(announced(asker.step(Tick{}, {1, 50, 60'000})), 1) << "too late: only for who is idle";
  for (const double nonsense : {-5.0, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    EXPECT_EQ(announced(asker.step(TaskEntered{2, place_of(2, 5), 10, 0, nonsense}, {2, 2, 500})), 0);
  }
  Host host = experienced(true);
  EXPECT_TRUE(by_agent(host, 300, NAN).empty());
  EXPECT_TRUE(by_agent(host, 301, -1).empty());
}

// What it is for: answers that come in time.
TEST(PartsBench, BidsThatKnowTheirQueuesComeInTime) {
  const DriftCourse course(5, DriftVariant::kNone);
  LoadOptions options;
  options.tasks = 1500;
  NodeOptions queues, priced;
  queues.queues = true;
  priced.price = true;
  const auto with = play_loaded(course, options, "colony", queues, 5), prices = play_loaded(course, options, "colony", priced, 5);
  EXPECT_GT(with.goodput, prices.goodput + .03);
  EXPECT_LT(with.p95_s, options.deadline_s);
  EXPECT_GT(with.goodput, .9 * with.right);
}

}  // namespace
}  // namespace colony::swarm
