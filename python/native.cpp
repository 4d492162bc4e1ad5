// The module blip2._native: an Engine for Python. What people call is in blip2/_model.py, which
// gives this module the bytes of pictures and texts.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "blip2/base/error.h"
#include "blip2/image/image.h"
#include "blip2/io/hub_cache.h"
#include "blip2/serving/engine.h"
#include "python/options.h"

namespace nb = nanobind;

namespace blip2 {
namespace {

using Picture = std::pair<nb::bytes, std::string>;  // an encoded picture, and what messages call it

// What a job has said so far. The engine's threads write it, Python's threads wait for it.
template <typename Result>
struct Outcome {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> pieces;
  std::optional<Result> result;
  std::optional<JobError> error;

  template <typename Change>
  void change(const Change& apply) {
    {
      const std::lock_guard lock(mutex);
      apply();
    }
    changed.notify_all();
  }
};

// Waits without Python's lock until ready(), or for a signal such as Ctrl-C, which cancels the job.
template <typename Result, typename Ready>
void wait_for(Outcome<Result>& outcome, Job& job, const Ready& ready) {
  const nb::gil_scoped_release released;
  std::unique_lock lock(outcome.mutex);
  while (!outcome.error && !ready()) {
    if (outcome.changed.wait_for(lock, std::chrono::milliseconds(100)) ==
        std::cv_status::no_timeout)
      continue;
    lock.unlock();
    {
      const nb::gil_scoped_acquire held;
      if (PyErr_CheckSignals() != 0) {
        job.cancel();
        throw nb::python_error();
      }
    }
    lock.lock();
  }
}

void throw_fault(const JobError& fault) {
  if (fault.fault == JobFault::bad_picture || fault.fault == JobFault::failed) {
    throw Error(fault.message);
  }
  throw Error(fault.message, "",
              fault.fault == JobFault::timed_out ? "the job's time was over" : "");
}

JobPicture job_picture(const Picture& picture) {
  return {std::string(picture.first.c_str(), picture.first.size()), picture.second};
}

nb::dict as_dict(const TextResult& result) {
  nb::list texts;
  for (const WrittenText& written : result.texts) {
    nb::dict text;
    text["text"] = written.text;
    text["tokens"] = written.tokens;
    text["score"] = written.score;
    text["cut"] = written.cut;
    texts.append(text);
  }
  nb::dict object;
  object["texts"] = texts;
  object["prompt_tokens"] = result.prompt_tokens;
  object["written_tokens"] = result.written_tokens;
  return object;
}

// An answer that is being written. Destroyed before its end, it cancels the job.
class Writing {
 public:
  Writing(std::shared_ptr<Engine> engine, std::shared_ptr<TextJob> job)
      : engine_(std::move(engine)), job_(std::move(job)) {
    job_->on_text = [to = outcome_](const TextPiece& piece) {
      if (!piece.text.empty()) to->change([&] { to->pieces.push_back(piece.text); });
    };
    job_->on_done = [to = outcome_](TextResult result) {
      to->change([&] { to->result = std::move(result); });
    };
    job_->on_error = [to = outcome_](const JobError& fault) {
      to->change([&] { to->error = fault; });
    };
  }
  ~Writing() { job_->cancel(); }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  bool submit() { return engine_->submit(job_); }

  nb::dict result() {
    wait_for(*outcome_, *job_, [this] { return outcome_->result.has_value(); });
    const std::lock_guard lock(outcome_->mutex);
    if (outcome_->error) throw_fault(*outcome_->error);
    return as_dict(*outcome_->result);
  }

  std::string next() {
    wait_for(*outcome_, *job_,
             [this] { return !outcome_->pieces.empty() || outcome_->result.has_value(); });
    const std::lock_guard lock(outcome_->mutex);
    if (outcome_->error) throw_fault(*outcome_->error);
    if (outcome_->pieces.empty()) throw nb::stop_iteration();
    std::string piece = std::move(outcome_->pieces.front());
    outcome_->pieces.pop_front();
    return piece;
  }

 private:
  std::shared_ptr<Engine> engine_;  // lives as long as its job is waited for
  std::shared_ptr<TextJob> job_;
  std::shared_ptr<Outcome<TextResult>> outcome_ = std::make_shared<Outcome<TextResult>>();
};

using Numbers = nb::ndarray<nb::numpy, float>;

// Vectors as an array of that shape, which owns them.
Numbers array_of(std::vector<float> values, std::vector<std::size_t> shape) {
  auto* const kept = new std::vector<float>(std::move(values));
  const nb::capsule owner(
      kept, [](void* data) noexcept { delete static_cast<std::vector<float>*>(data); });
  return Numbers(kept->data(), shape.size(), shape.data(), owner);
}

// [N, E], or [N, rows, E] with `rows`.
Numbers array_of(const std::vector<Embedding>& vectors, std::int64_t width, std::int64_t rows) {
  std::vector<float> values;
  for (const Embedding& one : vectors) {
    values.insert(values.end(), one.values.begin(), one.values.end());
    width = one.width;
    if (rows > 0) rows = one.rows;
  }
  std::vector<std::size_t> shape{vectors.size()};
  if (rows > 0) shape.push_back(static_cast<std::size_t>(rows));
  shape.push_back(static_cast<std::size_t>(width));
  return array_of(std::move(values), std::move(shape));
}

class NativeModel {
 public:
  NativeModel(const std::string& model, EngineOptions options)
      : folder_(find_model(model)), options_(std::move(options)) {
    const nb::gil_scoped_release released;
    engine_ = std::make_shared<Engine>(folder_, options_);
  }

  const EngineFacts& facts() const { return engine()->facts(); }
  const std::filesystem::path& folder() const { return folder_; }
  void close() {
    const std::shared_ptr<Engine> last = std::move(engine_);
    const nb::gil_scoped_release released;
    if (last) last->stop();
  }

  // nullptr: the queue is full.
  std::unique_ptr<Writing> write(const Picture& picture, const Prompt& prompt, TextTask task,
                                 const std::string& options, std::vector<std::string> stop) const {
    auto job = std::make_shared<TextJob>();
    job->picture = job_picture(picture);
    job->prompt = prompt;
    job->options = text_options(folder_, task, options);
    job->options.stop_strings = std::move(stop);
    auto writing = std::make_unique<Writing>(engine(), std::move(job));
    return writing->submit() ? std::move(writing) : nullptr;
  }

  Prompt caption_prompt(const std::optional<std::string>& prompt) const {
    return prompt ? Prompt::plain(*prompt) : Prompt(facts().caption_prompt);
  }
  Prompt question_prompt(const std::string& question,
                         const std::optional<std::string>& pattern) const {
    const std::string own = pattern.value_or(facts().question_prompt);
    need(own.find("{}") != std::string::npos, "expected {} in the template for questions", own);
    return fill_template(own, Prompt::plain(question));
  }
  // Questions and answers in turn, as `blip2 chat` joins them.
  Prompt chat_prompt(const std::vector<std::pair<std::string, std::string>>& turns) const {
    Prompt plain;
    std::vector<ChatMessage> messages;
    for (const auto& [role, text] : turns) {
      const bool asks = role == "user";
      messages.push_back({role, asks ? question_prompt(text, {}) : Prompt::plain(text)});
      if (asks) plain.add(messages.back().content);
      if (role == "assistant") plain.add_plain(" " + text + " ");
    }
    return facts().chat ? facts().chat->apply(messages, prompt_choices()) : plain;
  }

  // Vectors of pictures [N, Q, E] and of texts [M, E].
  std::pair<Numbers, Numbers> embed(const std::vector<Picture>& pictures,
                                    std::vector<std::string> texts) const {
    auto job = std::make_shared<EmbeddingJob>();
    for (const Picture& picture : pictures) job->pictures.push_back(job_picture(picture));
    job->texts = std::move(texts);
    const EmbeddingJob::Result result = run<EmbeddingJob, EmbeddingJob::Result>(job);
    const std::int64_t width = facts().embedding_width;
    return {array_of(result.pictures, width, facts().queries), array_of(result.texts, width, 0)};
  }

  // (itc, itm) of each picture with each text.
  std::vector<std::vector<std::pair<double, double>>> score(const std::vector<Picture>& pictures,
                                                            std::vector<std::string> texts) const {
    auto job = std::make_shared<ScoreJob>();
    for (const Picture& picture : pictures) job->pictures.push_back(job_picture(picture));
    job->texts = std::move(texts);
    const ScoreJob::Result result = run<ScoreJob, ScoreJob::Result>(job);
    std::vector<std::vector<std::pair<double, double>>> scores;
    for (const auto& row : result.scores) {
      auto& pairs = scores.emplace_back();
      for (const MatchScore& one : row) pairs.emplace_back(one.itc, one.itm);
    }
    return scores;
  }

 private:
  std::shared_ptr<Engine> engine() const {
    if (!engine_) throw Error("the model is closed");
    return engine_;
  }

  template <typename Work, typename Result>
  Result run(const std::shared_ptr<Work>& job) const {
    const auto outcome = std::make_shared<Outcome<Result>>();
    job->on_done = [outcome](Result result) {
      outcome->change([&] { outcome->result = std::move(result); });
    };
    job->on_error = [outcome](const JobError& fault) {
      outcome->change([&] { outcome->error = fault; });
    };
    const std::shared_ptr<Engine> used = engine();
    if (!used->submit(job)) throw Error("the queue is full", "", "ask later, or raise max_queue");
    wait_for(*outcome, *job, [&] { return outcome->result.has_value(); });
    const std::lock_guard lock(outcome->mutex);
    if (outcome->error) throw_fault(*outcome->error);
    return std::move(*outcome->result);
  }

  std::filesystem::path folder_;
  EngineOptions options_;
  std::shared_ptr<Engine> engine_;
};

nb::dict facts_of(const NativeModel& model) {
  const EngineFacts& facts = model.facts();
  nb::dict object;
  object["folder"] = model.folder().string();
  object["picture_size"] = nb::make_tuple(facts.picture_width, facts.picture_height);
  object["embedding_width"] = facts.embedding_width;
  object["generates"] = facts.generates;
  object["queries"] = facts.queries;
  object["positions"] = facts.positions;
  object["vocabulary"] = facts.vocabulary;
  object["weights"] = facts.weights;
  object["caption_prompt"] = facts.caption_prompt;
  object["question_prompt"] = facts.question_prompt;
  object["chat_template"] = facts.chat != nullptr;
  return object;
}

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

// The bytes of a PNG file of pixels [H, W, 3].
nb::bytes png_of(const Pixels& pixels) {
  Image image{static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(0)), {}};
  image.rgb.assign(pixels.data(), pixels.data() + pixels.size());
  std::string file;
  {
    const nb::gil_scoped_release released;
    file = encode_png(image);
  }
  return nb::bytes(file.data(), file.size());
}

// Library errors become blip2.Error with its parts as attributes.
void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    const nb::object type = nb::module_::import_("blip2._errors").attr("Error");
    const nb::object made = type(error.message(), error.where(), error.hint());
    PyErr_SetObject(type.ptr(), made.ptr());
  }
}

EngineOptions engine_options(const std::string& precision, bool chat, std::int64_t max_batch,
                             std::int64_t max_queue, std::int64_t cache_bytes,
                             std::int64_t picture_threads, int threads) {
  use_threads(threads);
  EngineOptions options;
  options.precision = precision;
  options.chat = chat;
  options.max_batch = max_batch;
  options.max_queue = max_queue;
  options.cache_bytes = cache_bytes;
  options.picture_threads = picture_threads;
  return options;
}

}  // namespace
}  // namespace blip2

NB_MODULE(_native, m) {
  using namespace blip2;
  nb::register_exception_translator(translate);
  m.attr("__version__") = BLIP2_VERSION;
  m.def("png_of", &png_of, nb::arg("pixels"));

  nb::class_<Writing>(m, "Writing")
      .def("result", &Writing::result)
      .def("__iter__", [](nb::handle self) { return nb::borrow(self); })
      .def("__next__", &Writing::next);

  nb::class_<Prompt>(m, "Prompt");
  nb::enum_<TextTask>(m, "TextTask")
      .value("caption", TextTask::caption)
      .value("answer", TextTask::answer)
      .value("chat", TextTask::chat);

  nb::class_<NativeModel>(m, "Model")
      .def("__init__",
           [](NativeModel* self, const std::string& model, const std::string& precision, bool chat,
              std::int64_t max_batch, std::int64_t max_queue, std::int64_t cache_bytes,
              std::int64_t picture_threads, int threads) {
             new (self) NativeModel(model, engine_options(precision, chat, max_batch, max_queue,
                                                          cache_bytes, picture_threads, threads));
           })
      .def("facts", &facts_of)
      .def("close", &NativeModel::close)
      .def("caption_prompt", &NativeModel::caption_prompt, nb::arg("prompt").none())
      .def("question_prompt", &NativeModel::question_prompt, nb::arg("question"),
           nb::arg("template").none())
      .def("chat_prompt", &NativeModel::chat_prompt)
      .def("write", &NativeModel::write)
      .def("embed", &NativeModel::embed)
      .def("score", &NativeModel::score);
}
