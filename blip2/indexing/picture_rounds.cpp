#include "blip2/indexing/picture_rounds.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>
#include <utility>

#include "blip2/base/interrupt.h"
#include "blip2/base/parallel.h"
#include "blip2/base/progress.h"
#include "blip2/indexing/picture_file.h"
#include "blip2/processes/rank_work.h"

namespace blip2 {
namespace {

using nlohmann::json;

constexpr std::size_t kAtOnce = 32;  // files of a process in a round

// The files of one round that this process reads.
struct Round {
  std::size_t begin = 0, count = 0;  // of all processes' files, in the list
  std::vector<PictureFile> own;
  std::vector<std::size_t> wanted;  // places in `own`
};

std::string to_text(const json& value) {
  const auto bytes = json::to_cbor(value);
  return {bytes.begin(), bytes.end()};
}

// A file as text, for the main process; `encoded`: its vectors are sent beside.
std::string describe(const PictureFile& file, bool encoded) {
  json taken;
  if (file.notes.taken) taken = *file.notes.taken;
  return to_text(json{file.path, file.facts.bytes, file.facts.modified, file.facts.problem,
                      file.gone, file.hash.low, file.hash.high, encoded, file.width, file.height,
                      taken, file.notes.camera, file.look});
}

ReadPicture read_description(const std::string& text) {
  const json value = json::from_cbor(text);
  ReadPicture read;
  read.file = {value[0], value[1], value[2], std::nullopt, value[3]};
  read.gone = value[4];
  read.content = {value[5], value[6]};
  if (!value[7].get<bool>()) return read;
  read.facts =
      PictureFacts{read.content, value[8], value[9], std::nullopt, value[11], "", value[12]};
  if (!value[10].is_null()) read.facts->taken = value[10].get<std::int64_t>();
  return read;
}

// The rounds of one list of files.
class Rounds {
 public:
  Rounds(const Ranks* ranks, std::vector<std::string> paths,
         const std::function<const RetrievalModel&()>& model, const PictureRoundCalls& calls)
      : ranks_(ranks),
        paths_(std::move(paths)),
        model_(model),
        calls_(calls),
        at_once_(kAtOnce * static_cast<std::size_t>(ranks ? ranks->size() : 1)),
        threads_(static_cast<std::size_t>(at::get_num_threads())) {}

  // While one round is encoded, the next one is decoded and the one after it is read.
  void run() {
    std::optional<Progress> progress;
    if (is_main_process(ranks_)) progress.emplace("pictures", std::ssize(paths_));
    std::optional<Round> decoded;
    Round round = begin_round(0);
    read(round);
    while (round.count > 0) {
      check();
      claim(round);
      Round next = begin_round(round.begin + round.count);
      auto ahead = std::async(std::launch::async, [&] { decode(round), read(next); });
      if (decoded) finish(*decoded, progress);
      ahead.get();
      decoded = std::move(round);
      round = std::move(next);
    }
    finish(*decoded, progress);
    if (progress) progress->finish();
  }

 private:
  void check() const {
    if (interrupted()) throw Interrupted{};
    if (ranks_) ranks_->check();
  }

  Round begin_round(std::size_t begin) const {
    Round round{begin, std::min(at_once_, paths_.size() - begin), {}, {}};
    const IndexRange part = own_part(ranks_, round.count, kAtOnce);
    for (std::size_t i = part.begin; i < part.end; ++i) {
      round.own.emplace_back().path = paths_[begin + i];
    }
    return round;
  }

  void read(Round& round) const {
    parallel_for(round.own.size(), threads_, [&](std::size_t i) { read_content(round.own[i]); });
  }

  // Asks the main process which of the files' contents are wanted.
  void claim(Round& round) {
    std::vector<std::string> hashes;
    for (const PictureFile& file : round.own) {
      hashes.push_back(file.is_bad() ? "" : to_text(json{file.hash.low, file.hash.high}));
    }
    hashes = collect_texts(ranks_, std::move(hashes));
    std::string answer;
    for (const std::string& hash : hashes) answer += wants(hash) ? '1' : '0';
    answer = share_texts(ranks_, {answer}).front();
    if (answer.find('1') != answer.npos) preprocessing_ = &model_().images().preprocessing();
    const std::size_t first = own_part(ranks_, round.count, kAtOnce).begin;
    for (std::size_t i = 0; i < round.own.size(); ++i) {
      if (answer.at(first + i) == '1') round.wanted.push_back(i);
    }
  }

  bool wants(const std::string& hash) const {
    if (hash.empty()) return false;
    const json value = json::from_cbor(hash);
    return calls_.wants({value[0], value[1]});
  }

  void decode(Round& round) const {
    parallel_for(round.wanted.size(), threads_, [&](std::size_t i) {
      decode_content(round.own[round.wanted[i]], *preprocessing_);
    });
    for (PictureFile& file : round.own) file.content = {};
  }

  // Encodes what is wanted and hands the round to the main process.
  void finish(Round& round, std::optional<Progress>& progress) const {
    std::vector<at::Tensor> pixels;
    std::vector<std::string> texts;
    for (PictureFile& file : round.own) {
      texts.push_back(describe(file, file.pixels.defined()));
      if (file.pixels.defined()) pixels.push_back(std::move(file.pixels));
    }
    std::vector<at::Tensor> vectors;
    if (!pixels.empty()) vectors.push_back(encode(pixels));
    const at::Tensor rows = collect_rows(ranks_, vectors);
    texts = collect_texts(ranks_, std::move(texts));
    if (!is_main_process(ranks_)) return;
    calls_.take(with_vectors(texts, rows));
    if (progress) progress->update(static_cast<std::int64_t>(round.begin + round.count));
  }

  at::Tensor encode(const std::vector<at::Tensor>& pixels) const {
    const at::InferenceMode inference;
    const RetrievalModel& model = model_();
    const ImageKeysValues images = model.project_images(model.images().encode(pixels));
    return model.embed_images(images).to(at::kFloat).contiguous();
  }

  static std::vector<ReadPicture> with_vectors(const std::vector<std::string>& texts,
                                               const at::Tensor& rows) {
    std::vector<ReadPicture> pictures;
    std::int64_t row = 0;
    for (const std::string& text : texts) {
      pictures.push_back(read_description(text));
      if (pictures.back().facts) pictures.back().vectors = rows[row++];
    }
    return pictures;
  }

  const Ranks* ranks_;
  std::vector<std::string> paths_;
  const std::function<const RetrievalModel&()>& model_;
  const PictureRoundCalls& calls_;
  std::size_t at_once_, threads_;
  const Preprocessing* preprocessing_ = nullptr;
};

}  // namespace

std::vector<std::string> share_texts(const Ranks* ranks, const std::vector<std::string>& texts) {
  if (!ranks) return texts;
  ranks->wait();
  const std::string text = ranks->rank() == 0 ? to_text(json(texts)) : "";
  return json::from_cbor(ranks->all_gather_text(text).front()).get<std::vector<std::string>>();
}

void read_in_rounds(const Ranks* ranks, const std::vector<std::string>& paths,
                    const std::function<const RetrievalModel&()>& model,
                    const PictureRoundCalls& calls) {
  std::vector<std::string> all = share_texts(ranks, paths);
  if (!all.empty()) Rounds(ranks, std::move(all), model, calls).run();
}

}  // namespace blip2
