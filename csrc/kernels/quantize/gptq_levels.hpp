// The levels of GPTQ's inner work; gptq.cpp chooses among them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace castline::kernels {

constexpr std::size_t kGptqRows = 16;  // that are rounded side by side, one to a lane

/// A group of rows on its way. A matrix [n, kGptqRows] has a row's value in each lane.
struct GptqGroup {
  std::size_t columns, block;
  bool symmetric;
  const std::int64_t* order;  // [columns]
  const float* factor;        // [columns, columns]
  /// The columns of block b are at places[first_place[b]] to places[first_place[b + 1]] in the order.
  const std::size_t* places;
  const std::size_t* first_place;
  float* weights;   // [columns, kGptqRows], in the order of `order`; overwritten
  float* scale;     // [blocks, kGptqRows]; 0 where a block has no grid yet
  float* zero;      // [blocks, kGptqRows]
  std::uint8_t* q;  // [columns, kGptqRows], in the matrix's own order
};

using GptqRows = void (*)(const GptqGroup& group);

extern const GptqRows kGptqScalar;
#if defined(__x86_64__)
extern const GptqRows kGptqAvx2;
extern const GptqRows kGptqAvx512;
#endif

}  // namespace castline::kernels
