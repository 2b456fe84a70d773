#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "bindings/bindings.hpp"
#include "kernels/quantize/gptq.hpp"

namespace py = pybind11;

namespace castline {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

template <class T>
std::span<const T> values(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

template <class T>
std::span<T> room(py::array_t<T>& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

py::tuple gptq(const Array<float>& weights, const Array<float>& factor, const Array<std::int64_t>& order,
               std::size_t block, bool symmetric, int threads) {
  if (weights.ndim() != 2) throw_usage("[gptq] weights must be [rows, columns]");
  const py::ssize_t rows = weights.shape(0);
  const py::ssize_t columns = weights.shape(1);
  if (factor.ndim() != 2 || factor.shape(0) != columns || factor.shape(1) != columns) {
    throw_usage("[gptq] factor must be [columns, columns]");
  }
  if (block == 0) throw_usage("[gptq] block must be positive, but got 0");
  std::vector<bool> seen(static_cast<std::size_t>(columns), false);
  for (const std::int64_t column : values(order)) {
    if (column < 0 || column >= columns || seen[static_cast<std::size_t>(column)]) {
      throw_usage("[gptq] order must name every column once");
    }
    seen[static_cast<std::size_t>(column)] = true;
  }
  if (order.size() != columns) throw_usage("[gptq] order must name every column once");

  const kernels::GptqProblem problem{.rows = static_cast<std::size_t>(rows),
                                     .columns = static_cast<std::size_t>(columns),
                                     .weights = values(weights),
                                     .factor = values(factor),
                                     .order = values(order),
                                     .block = block,
                                     .symmetric = symmetric};
  const auto blocks = static_cast<py::ssize_t>(problem.blocks());
  py::array_t<std::uint8_t> q({rows, columns});
  py::array_t<float> scale({rows, blocks});
  py::array_t<std::uint8_t> zero({rows, blocks});
  const kernels::GptqResult result{.q = room(q), .scale = room(scale), .zero = room(zero)};
  {
    const py::gil_scoped_release release;
    ThreadPool pool(threads);
    kernels::gptq(problem, result, pool);
  }
  return py::make_tuple(q, scale, zero);
}

}  // namespace

void bind_quantize(py::module_& m) {
  m.def("gptq", &gptq, py::arg("weights"), py::arg("factor"), py::arg("order"), py::arg("block"),
        py::arg("symmetric") = false, py::arg("threads") = 0);
}

}  // namespace castline
