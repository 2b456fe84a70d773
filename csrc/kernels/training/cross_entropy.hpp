// Cross-entropy of rows of logits, and plain sums. Local to the file that includes it; see kernels.hpp.
#pragma once

#include <cmath>

#include "kernels/training/lanes.hpp"

namespace castline::kernels {
namespace {

void cross_entropy(float* logits, const std::int64_t* targets, std::int64_t ignored, bool gradient,
                   float* losses, std::int64_t rows, std::int64_t size) {
  for (std::int64_t row = 0; row < rows; ++row, logits += size) {
    const std::int64_t target = targets[row];
    if (target == ignored) {
      losses[row] = 0.0F;
      if (gradient) std::memset(logits, 0, static_cast<std::size_t>(size) * sizeof(float));
      continue;
    }
    float highest = logits[0];
    Lanes highs = Lanes::all(highest);
    for_blocks(size / kLanes * kLanes, [&](auto block) { highs = Lanes::max(highs, block.load(logits)); });
    highest = max_lanes(highs);
    for (std::int64_t i = size / kLanes * kLanes; i < size; ++i) {
      highest = highest > logits[i] ? highest : logits[i];
    }
    const float chosen = logits[target];
    const Lanes base = Lanes::all(highest);
    // Four sums, so that the additions of neighbouring blocks do not wait for each other.
    Lanes sums[4] = {Lanes::all(0.0F), Lanes::all(0.0F), Lanes::all(0.0F), Lanes::all(0.0F)};
    std::int64_t at = 0;
    for (; at + 4 * kLanes <= size; at += 4 * kLanes) {
      for (std::int64_t part = 0; part < 4; ++part) {
        const Lanes e = exp(Lanes::load(logits + at + part * kLanes) - base);
        if (gradient) e.store(logits + at + part * kLanes);
        sums[part] = sums[part] + e;
      }
    }
    float sum = sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; at < size; at += kLanes) {
      const LastBlock block{at, size - at < kLanes ? size - at : kLanes};
      const Lanes e = exp(block.load(logits) - base);
      float each[kLanes];
      e.store(each);
      for (std::int64_t i = 0; i < block.count; ++i) sum += each[i];
      if (gradient) block.store(e, logits);
    }
    losses[row] = logf(sum) + highest - chosen;
    if (!gradient) continue;
    const Lanes scale = Lanes::all(1.0F / sum);
    for_blocks(size, [&](auto block) { block.store(block.load(logits) * scale, logits); });
    logits[target] -= 1.0F;
  }
}

void sum_rows(const float* parts, std::int64_t rows, std::int64_t size, float* sum) {
  for_blocks(size, [&](auto block) {
    Lanes total = Lanes::all(0.0F);
    for (std::int64_t row = 0; row < rows; ++row) total = total + block.load(parts + row * size);
    block.store(total, sum);
  });
}

void sum(const float* values, std::int64_t count, float* sum) {
  double total = 0.0;
  for (std::int64_t i = 0; i < count; ++i) total += static_cast<double>(values[i]);
  *sum = static_cast<float>(total);
}

}  // namespace
}  // namespace castline::kernels
