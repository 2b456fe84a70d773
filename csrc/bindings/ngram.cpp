#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "bindings/bindings.hpp"
#include "bindings/ids.hpp"
#include "text/ngram_model.hpp"

namespace py = pybind11;

namespace castline {
namespace {

using Segments = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

void add(text::NgramModel& model, const py::object& values) {
  const Ids ids = ids_from_python(values);
  const py::gil_scoped_release release;
  model.add(ids);
}

py::array_t<double> context_gains(const text::NgramModel& model, const py::object& values,
                                  const Segments& segments, int threads) {
  if (segments.ndim() != 2 || segments.shape(1) != 3) throw_usage("[ngram] expected segments [n, 3]");
  const Ids ids = ids_from_python(values);
  const auto count = static_cast<std::size_t>(segments.shape(0));
  const std::vector<std::int64_t> bounds(segments.data(), segments.data() + 3 * count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t* at = &bounds[3 * i];
    if (at[0] < 0 || at[0] > at[1] || at[1] > at[2] || at[2] > static_cast<std::int64_t>(ids.size())) {
      throw_usage("[ngram] expected 0 ≤ start ≤ middle ≤ end ≤ tokens in every segment");
    }
  }
  py::array_t<double> gains(static_cast<py::ssize_t>(count));
  double* gain = gains.mutable_data();
  const py::gil_scoped_release release;
  ThreadPool(threads).run(count, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto at = [&](std::size_t n) { return static_cast<std::size_t>(bounds[3 * i + n]); };
      const std::span<const std::uint32_t> tokens(ids);
      gain[i] = text::context_gain(model, tokens.subspan(at(0), at(1) - at(0)),
                                   tokens.subspan(at(1), at(2) - at(1)));
    }
  });
  return gains;
}

}  // namespace

void bind_ngram(py::module_& m) {
  py::class_<text::NgramModel>(m, "NgramModel", "A trigram model of token ids (csrc/text/ngram_model.hpp).")
      .def(py::init<std::uint32_t>(), py::arg("vocab_size"))
      .def("add", &add, py::arg("tokens"))
      .def(
          "probability",
          [](const text::NgramModel& model, const py::object& context, std::uint32_t token) {
            const Ids ids = ids_from_python(context);
            return model.probability(ids, token);
          },
          py::arg("context"), py::arg("token"))
      .def("context_gains", &context_gains, py::arg("tokens"), py::arg("segments"), py::arg("threads") = 1);
}

}  // namespace castline
