#include "blip2/serving/job_queue_internal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

namespace blip2 {
namespace {

TicketPtr with_pictures(std::size_t count) {
  auto job = std::make_shared<EmbeddingJob>();
  job->pictures.resize(count);
  return std::make_shared<Ticket>(std::move(job), std::chrono::hours(1));
}

bool any(const Ticket&) {
  return true;
}

TEST(JobQueueTest, DecodesNoMorePicturesAheadThanItMay) {
  JobQueue queue(10, 3);
  const TicketPtr large = with_pictures(5), small = with_pictures(1), next = with_pictures(1);
  for (const TicketPtr& ticket : {small, large, next}) ASSERT_TRUE(queue.add(ticket));
  EXPECT_EQ(queue.next_to_prepare(), small);
  EXPECT_EQ(queue.next_to_prepare(), large);  // there is room for one more picture: it may begin
  EXPECT_EQ(queue.counts().pictures_decoding, 6u);
  std::atomic<bool> begun = false;
  std::thread third([&] {
    EXPECT_EQ(queue.next_to_prepare(), next);
    begun = true;
  });
  queue.prepared(*small);
  EXPECT_EQ(queue.take(any, any), small);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(begun);  // the large one's pictures wait
  queue.prepared(*large);
  EXPECT_EQ(queue.take(any, any), large);
  third.join();
}

}  // namespace
}  // namespace blip2
