// An engine with the interface of compile/graph.py that computes something simple on the fake GPU's memory:
// every past token counts, with its position, so that a wrong address, index, shape or stale input shows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "runtime/tensorrt/engine_api.hpp"

namespace castline::test {

inline constexpr std::int64_t kFakeVocab = 5;
inline constexpr std::int64_t kFakeLayers = 2;

/// What a fake engine is like, and how it misbehaves.
struct FakeTraits {
  std::int64_t context = 24;
  std::int64_t prefill_tokens = 8;
  std::int64_t prefill_logits = 3;
  std::int64_t vocab = kFakeVocab;
  int profiles = 2;
  std::string without;  // a tensor that it lacks
  bool refuses_to_be_captured = false;
  int (*launch)(void* stream, void (*)(void*), void*) = nullptr;  // cuLaunchHostFunc of the fake driver
};

/// The logits that the fake engine must give after the last of `tokens`, which are all tokens so far: exact
/// in float for short sequences of small ids.
inline std::vector<float> fake_logits(std::span<const std::uint32_t> tokens) {
  std::vector<float> logits(kFakeVocab);
  for (std::size_t j = 0; j < tokens.size(); ++j) {
    for (std::int64_t v = 0; v < kFakeVocab; ++v) {
      for (std::int64_t layer = 0; layer < kFakeLayers; ++layer) {
        logits[static_cast<std::size_t>(v)] += static_cast<float>(
            (tokens[j] + 1 + static_cast<std::size_t>(layer)) * static_cast<std::size_t>(v + 1) +
            j * static_cast<std::size_t>(3 * layer + 1));
      }
    }
  }
  return logits;
}

class FakeExecution final : public tensorrt::Execution {
 public:
  FakeExecution(const FakeTraits& traits, int profile, int& runs)
      : traits_(traits), decode_(profile == 1), runs_(runs) {}

  void set_shape(const std::string& input, std::span<const std::int64_t> shape) override {
    const std::int64_t tokens = decode_ ? 1 : traits_.prefill_tokens;
    const std::int64_t logits = decode_ ? 1 : traits_.prefill_logits;
    const auto within = [&](std::initializer_list<std::int64_t> most) {
      return std::equal(shape.begin(), shape.end(), most.begin(), most.end(),
                        [](std::int64_t n, std::int64_t top) { return n >= 1 && n <= top; });
    };
    const bool fits = input == "input_ids" || input == "position_ids" ? within({1, tokens})
                      : input == "write_indices"                      ? within({1})
                      : input == "logits_indices"                     ? within({logits})
                                                                      : within({1, 1, traits_.context, 1});
    if (!fits) throw_device("[fake] the shape of " + input + " is outside its profile");
    shapes_[input] = {shape.begin(), shape.end()};
  }

  void set_address(const std::string& tensor, cuda::Address address) override {
    if (address % 256 != 0) throw_device("[fake] the address of " + tensor + " is not aligned");
    addresses_[tensor] = address;
  }

  void enqueue(cuda::StreamHandle stream) override {
    ++runs_;
    if (traits_.refuses_to_be_captured && decode_ && runs_ == 2) throw_device("[fake] cannot be captured");
    // A recorded run keeps shapes and addresses of its time, as a CUDA graph does.
    recorded_.push_back(std::make_unique<Run>(Run{shapes_, addresses_, traits_.context}));
    traits_.launch(stream, [](void* run) { static_cast<Run*>(run)->compute(); }, recorded_.back().get());
  }

 private:
  struct Run {
    std::map<std::string, std::vector<std::int64_t>> shapes;
    std::map<std::string, cuda::Address> addresses;
    std::int64_t context;

    template <typename T>
    T* at(const std::string& name) const {
      return reinterpret_cast<T*>(addresses.at(name));
    }

    void compute() const {
      const std::int64_t tokens = shapes.at("input_ids").at(1);
      const std::int64_t rows = shapes.at("logits_indices").at(0);
      const auto* ids = at<std::int64_t>("input_ids");
      const auto* positions = at<std::int64_t>("position_ids");
      const std::int64_t write = *at<std::int64_t>("write_indices");
      float* const logits = at<float>("logits");
      std::fill_n(logits, rows * kFakeVocab, 0.0F);
      for (std::int64_t layer = 0; layer < kFakeLayers; ++layer) {
        const std::string name = "past_key_values." + std::to_string(layer);
        for (const char* part : {".key", ".value"}) {
          // In place: what is read as past and what is written as present are one.
          if (addresses.at(name + part) != addresses.at("present." + std::to_string(layer) + part))
            std::abort();
        }
        float* const keys = at<float>(name + ".key");
        float* const values = at<float>(name + ".value");
        for (std::int64_t i = 0; i < tokens; ++i) {
          keys[write + i] = static_cast<float>(ids[i] + 1 + layer);
          values[write + i] = static_cast<float>(positions[i] * (3 * layer + 1));
        }
        for (std::int64_t row = 0; row < rows; ++row) {
          const std::int64_t position = positions[at<std::int64_t>("logits_indices")[row]];
          for (std::int64_t v = 0; v < kFakeVocab; ++v) {
            for (std::int64_t j = 0; j < context; ++j) {  // masked places weigh 0, as in attention
              const float weight = j <= position ? 1.0F : 0.0F;
              logits[row * kFakeVocab + v] += weight * (keys[j] * static_cast<float>(v + 1) + values[j]);
            }
          }
        }
      }
    }
  };

  const FakeTraits& traits_;
  bool decode_;
  int& runs_;
  std::map<std::string, std::vector<std::int64_t>> shapes_;
  std::map<std::string, cuda::Address> addresses_;
  std::vector<std::unique_ptr<Run>> recorded_;
};

class FakeEngine final : public tensorrt::LoadedEngine {
 public:
  explicit FakeEngine(FakeTraits traits) : traits_(std::move(traits)) {}

  std::vector<tensorrt::Tensor> tensors() const override {
    using tensorrt::ElementType;
    std::vector<tensorrt::Tensor> tensors = {
        {"input_ids", true, ElementType::i64, {-1, -1}},
        {"position_ids", true, ElementType::i64, {-1, -1}},
        {"write_indices", true, ElementType::i64, {-1}},
        {"logits_indices", true, ElementType::i64, {-1}},
        {"logits", false, ElementType::f32, {-1, -1, traits_.vocab}},
    };
    for (std::int64_t layer = 0; layer < kFakeLayers; ++layer) {
      for (const char* part : {".key", ".value"}) {
        const std::string name = std::to_string(layer) + part;
        const std::vector<std::int64_t> shape = {-1, 1, traits_.context, 1};
        tensors.push_back({"past_key_values." + name, true, ElementType::f32, shape});
        tensors.push_back({"present." + name, false, ElementType::f32, shape});
      }
    }
    std::erase_if(tensors, [&](const tensorrt::Tensor& t) { return t.name == traits_.without; });
    return tensors;
  }

  int profiles() const override { return traits_.profiles; }

  std::vector<std::int64_t> largest(const std::string& input, int profile) const override {
    if (input == "input_ids") return {1, profile == 1 ? 1 : traits_.prefill_tokens};
    return {profile == 1 ? 1 : traits_.prefill_logits};
  }

  std::unique_ptr<tensorrt::Execution> execution(int profile, cuda::StreamHandle) override {
    return std::make_unique<FakeExecution>(traits_, profile, runs_.at(static_cast<std::size_t>(profile)));
  }

 private:
  FakeTraits traits_;
  std::vector<int> runs_ = {0, 0};
};

}  // namespace castline::test
