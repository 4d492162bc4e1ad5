#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/base/interrupt.h"
#include "blip2/base/parallel.h"
#include "blip2/data/record_readers_internal.h"
#include "blip2/data/sidecar_internal.h"
#include "blip2/io/tar_place.h"
#include "blip2/io/tar_samples.h"
#include "blip2/io/utf8.h"

namespace blip2 {
namespace {

namespace fs = std::filesystem;

Record tar_record(const TarSampleReader& reader, const fs::path& shard, const TarSample& sample,
                  RecordUse use, const std::string& column) {
  if (!sample.fault.empty()) refuse(sample.fault);
  const TarEntry& picture = *sample.picture;
  if (picture.size == 0) refuse("the picture is empty");
  Record record;
  record.image = TarPlace{shard, picture.name, picture.offset, picture.size}.to_text();
  record.image_id = record.image;
  const TarEntry* text = sample.text ? &*sample.text : sample.json ? &*sample.json : nullptr;
  if (text == nullptr) return record;
  if (text->size > kRecordLimits.bytes) {
    refuse(fmt::format("its text has {} bytes, the limit is {}", text->size, kRecordLimits.bytes));
  }
  read_sidecar(record, sample.text ? ".txt" : ".json", reader.read(*text), use, column);
  return record;
}

// One shard's records, numbered from 1.
RecordFile read_shard(const fs::path& shard, RecordUse use, const std::string& column) {
  RecordFile file{shard, {}, {}};
  TarSampleReader reader(shard, use != RecordUse::pictures);
  std::size_t number = 0;
  while (const auto sample = reader.next()) {
    if (interrupted()) throw Interrupted{};
    ++number;
    try {
      file.records.push_back(tar_record(reader, shard, *sample, use, column));
      file.records.back().line = number;
    } catch (const Error& error) {
      file.bad.push_back({number, error.what(),
                          fmt::format("{}: {} (byte {})", shard.filename().string(),
                                      printable(sample->key), sample->at)});
    }
  }
  if (!reader.cut_off().empty()) {
    file.damage.push_back(fmt::format("{} {}", shard.filename().string(), reader.cut_off()));
  }
  return file;
}

template <typename T>
void move_to_end(std::vector<T>& from, std::vector<T>& to) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

}  // namespace

void read_tar_records(const RecordReading& reading) {
  const auto shards = shards_of(reading.source.path, ".tar");
  std::vector<RecordFile> files(shards.size());
  const std::size_t threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  const std::string column = reading.source.option(kTextColumn);
  parallel_for(shards.size(), threads,
               [&](std::size_t i) { files[i] = read_shard(shards[i], reading.use, column); });
  std::size_t before = 0;
  for (RecordFile& file : files) {
    const std::size_t samples = file.records.size() + file.bad.size();
    for (Record& record : file.records) record.line += before;
    for (BadRecord& record : file.bad) record.line += before;
    before += samples;
    move_to_end(file.records, reading.file.records);
    move_to_end(file.bad, reading.file.bad);
    move_to_end(file.damage, reading.file.damage);
    file = {};
  }
}

}  // namespace blip2
