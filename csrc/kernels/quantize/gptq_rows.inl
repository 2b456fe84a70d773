// One group of rows of GPTQ, compiled once per level (gptq_levels.hpp): plain loops over lanes, which give
// the same bits on all of them.
#include "kernels/quantize/gptq_levels.hpp"

namespace castline::kernels {
namespace {

constexpr std::size_t kLanes = kGptqRows;
constexpr float kMost = 15.0F;
constexpr float kMiddle = 8.0F;
constexpr int kRanges = 21;  // tried for a grid: from the whole of a block's down to half of it

inline float least(float a, float b) { return a < b ? a : b; }
inline float most(float a, float b) { return a > b ? a : b; }

/// The nearest whole number, for |x| < 2^22.
inline float nearest(float x) {
  constexpr float kShift = 0x1.8p23F;
  return (x + kShift) - kShift;
}

/// The nearest binary16 that is neither subnormal nor infinite.
inline float rounded_scale(float scale) {
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &scale, sizeof bits);
  bits = (bits + 0xFFFU + ((bits >> 13U) & 1U)) & ~0x1FFFU;
  __builtin_memcpy(&scale, &bits, sizeof bits);
  return least(most(scale, 0x1p-14F), 65504.0F);
}

inline float point(float weight, float inverse, float zero) {
  const float steps = nearest(least(most(weight * inverse, -32.0F), 32.0F));
  return least(most(steps + zero, 0.0F), kMost);
}

/// Choose the grids of one block for the weights as they are.
void fit(const GptqGroup& group, std::size_t block) {
  const std::size_t* begin = group.places + group.first_place[block];
  const std::size_t* end = group.places + group.first_place[block + 1];
  float low[kLanes] = {};
  float high[kLanes] = {};
  float best[kLanes];
  for (const std::size_t* i = begin; i != end; ++i) {
    const float* weight = group.weights + *i * kLanes;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      low[lane] = least(low[lane], weight[lane]);
      high[lane] = most(high[lane], weight[lane]);
    }
  }
  float* chosen_scale = group.scale + block * kLanes;
  float* chosen_zero = group.zero + block * kLanes;
  for (int range = 0; range < kRanges; ++range) {
    const float share = 1.0F - 0.5F * static_cast<float>(range) / static_cast<float>(kRanges - 1);
    float scale[kLanes];
    float inverse[kLanes];
    float zero[kLanes];
    float error[kLanes] = {};
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float asymmetric = (high[lane] - low[lane]) / kMost;
      const float around_zero = most(high[lane] / 7.0F, low[lane] / -8.0F);
      scale[lane] = rounded_scale((group.symmetric ? around_zero : asymmetric) * share);
      inverse[lane] = 1.0F / scale[lane];
      const float below = least(most(nearest(-low[lane] * share * inverse[lane]), 0.0F), kMost);
      zero[lane] = group.symmetric ? kMiddle : below;
    }
    for (const std::size_t* i = begin; i != end; ++i) {
      const float root = group.factor[*i * group.columns + *i];
      const float cost = 1.0F / (root * root);
      const float* weight = group.weights + *i * kLanes;
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const float value = (point(weight[lane], inverse[lane], zero[lane]) - zero[lane]) * scale[lane];
        error[lane] += (weight[lane] - value) * (weight[lane] - value) * cost;
      }
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const bool better = range == 0 || error[lane] < best[lane];
      best[lane] = better ? error[lane] : best[lane];
      chosen_scale[lane] = better ? scale[lane] : chosen_scale[lane];
      chosen_zero[lane] = better ? zero[lane] : chosen_zero[lane];
    }
  }
}

void round_rows(const GptqGroup& group) {
  for (std::size_t i = 0; i < group.columns; ++i) {
    const auto column = static_cast<std::size_t>(group.order[i]);
    const std::size_t block = column / group.block;
    const float* scale = group.scale + block * kLanes;
    const float* zero = group.zero + block * kLanes;
    if (scale[0] == 0.0F) fit(group, block);
    const float* factor = group.factor + i * group.columns;
    float* weight = group.weights + i * kLanes;
    float error[kLanes];
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float q = point(weight[lane], 1.0F / scale[lane], zero[lane]);
      group.q[column * kLanes + lane] = static_cast<std::uint8_t>(q);
      error[lane] = (weight[lane] - (q - zero[lane]) * scale[lane]) / factor[i];
    }
    for (std::size_t j = i + 1; j < group.columns; ++j) {
      float* later = group.weights + j * kLanes;
      for (std::size_t lane = 0; lane < kLanes; ++lane) later[lane] -= factor[j] * error[lane];
    }
  }
}

}  // namespace
}  // namespace castline::kernels
