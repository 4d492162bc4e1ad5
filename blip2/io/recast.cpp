#include "blip2/io/recast.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <optional>
#include <set>
#include <utility>

namespace blip2 {
namespace {

class RecastFile : public TensorFile {
 public:
  RecastFile(std::shared_ptr<const TensorFile> file, const std::vector<TensorRecipe>& recipes,
             const std::string& prefix)
      : TensorFile(file->path()), file_(std::move(file)), prefix_(prefix) {
    keep(file_);
    for (const TensorRecipe& recipe : recipes) make(recipe);
    refuse(faults_);
    for (const TensorView& view : file_->tensors()) {
      if (view.name.starts_with(prefix_) && !used_.contains(view.name)) add(view);
    }
  }
  std::string_view format() const override { return file_->format(); }
  std::string stored_name(const std::string& name) const override {
    const auto found = stored_.find(name);
    return found == stored_.end() ? name : found->second;
  }

 private:
  void make(const TensorRecipe& recipe) {
    const std::string name = prefix_ + recipe.name;
    std::vector<std::string> missing;
    std::vector<TensorView> parts;
    for (const TensorPart& part : recipe.parts) {
      const std::string source = prefix_ + part.source;
      const TensorView* view = part.source.empty() ? &zeros_ : file_->find(source);
      if (!part.source.empty()) used_.insert(source);
      if (!view) {
        missing.push_back(source);
      } else if (auto stretch = stretch_of(*view, part)) {
        parts.push_back(std::move(*stretch));
      }
    }
    stored_[name] = missing.empty() ? prefix_ + recipe.parts.front().source
                                    : fmt::format("{}", fmt::join(missing, " and "));
    if (parts.size() < recipe.parts.size()) return;
    std::optional<TensorView> whole = parts.size() > 1 ? join(parts) : std::move(parts[0]);
    if (!whole) return;
    whole->name = name;
    add(std::move(*whole));
  }

  // Nothing, and a fault, if the tensor has no such parts.
  std::optional<TensorView> stretch_of(TensorView view, const TensorPart& part) {
    if (part.of == 1) return view;
    if (view.shape.empty() || view.shape[0] % part.of != 0) {
      return fault(view, fmt::format("expected {} equal parts, got {}", part.of, describe(view)));
    }
    view.shape[0] /= part.of;
    const auto bytes = view.data.size() / static_cast<std::size_t>(part.of);
    view.data = view.data.subspan(bytes * static_cast<std::size_t>(part.index), bytes);
    return view;
  }

  // The parts one after another; nothing, and a fault, if they are not alike.
  std::optional<TensorView> join(const std::vector<TensorView>& parts) {
    TensorView whole = parts.front();
    if (whole.shape.empty()) {
      return fault(whole, "expected a dimension to be joined along, got " + describe(whole));
    }
    std::vector<std::byte> bytes;
    for (const TensorView& part : parts) {
      const bool zeros = part.name.empty();
      if (!zeros && (part.shape != whole.shape || part.dtype != whole.dtype)) {
        return fault(part, "expected " + describe(whole) + " beside " + describe(part));
      }
      bytes.insert(bytes.end(), part.data.begin(), part.data.end());
      if (zeros) bytes.resize(bytes.size() + whole.data.size());
    }
    whole.shape[0] *= std::ssize(parts);
    whole.data = keep(std::move(bytes));
    return whole;
  }

  std::nullopt_t fault(const TensorView& view, const std::string& text) {
    faults_.push_back(view.name + ": " + text);
    return std::nullopt;
  }

  const TensorView zeros_;  // a part without a source
  std::shared_ptr<const TensorFile> file_;
  std::string prefix_;
  std::set<std::string> used_;
  std::map<std::string, std::string> stored_;  // by our names
  std::vector<std::string> faults_;
};

}  // namespace

std::unique_ptr<TensorFile> recast(std::shared_ptr<const TensorFile> file,
                                   const std::vector<TensorRecipe>& recipes,
                                   const std::string& prefix) {
  return std::make_unique<RecastFile>(std::move(file), recipes, prefix);
}

}  // namespace blip2
