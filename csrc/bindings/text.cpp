#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "bindings/bindings.hpp"
#include "bindings/texts.hpp"
#include "text/duplicates.hpp"
#include "text/measure.hpp"
#include "text/minhash.hpp"
#include "text/shingles.hpp"
#include "text/tokens.hpp"

namespace py = pybind11;

namespace castline {
namespace {

py::dict measure(const py::iterable& sequence, int threads) {
  const Texts texts(sequence);
  std::vector<text::Measurements> rows(texts.size());
  {
    const py::gil_scoped_release release;
    ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
      text::Measurer measurer;
      for (std::size_t i = begin; i < end; ++i) rows[i] = measurer(texts[i]);
    });
  }
  py::dict columns;
  for (const text::MeasurementField& field : text::measurement_fields()) {
    std::visit(
        [&]<class T>(T text::Measurements::* member) {
          py::array_t<T> column(static_cast<py::ssize_t>(rows.size()));
          T* values = column.mutable_data();
          for (std::size_t i = 0; i < rows.size(); ++i) values[i] = rows[i].*member;
          columns[py::str(field.name.data(), field.name.size())] = std::move(column);
        },
        field.member);
  }
  return columns;
}

py::list tokens(const py::object& one, const std::string& kind) {
  const Texts texts(py::make_tuple(one));
  std::string storage;
  const std::string_view valid = text::valid_utf8(texts[0], storage).text;
  py::list found;
  const auto collect = [&found](auto scanner) {
    for (text::Token t; scanner.next(t, [](char32_t) {});) {
      found.append(py::str(t.bytes().data(), t.bytes().size()));
    }
  };
  if (kind_of(kind) == text::TextKind::text) {
    collect(text::TokenScanner<text::TextKind::text>(valid));
  } else {
    collect(text::TokenScanner<text::TextKind::code>(valid));
  }
  return found;
}

py::array_t<std::uint64_t> content_hashes(const py::iterable& sequence, int threads) {
  const Texts texts(sequence);
  py::array_t<std::uint64_t> hashes(std::vector<std::size_t>{texts.size(), 2});
  std::uint64_t* out = hashes.mutable_data();
  const py::gil_scoped_release release;
  ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const text::ContentHash hash = text::content_hash(texts[i]);
      out[2 * i] = hash.low;
      out[2 * i + 1] = hash.high;
    }
  });
  return hashes;
}

py::array_t<std::uint32_t> minhash(const py::iterable& sequence, const std::string& kind_name,
                                   std::size_t permutations, int threads) {
  const text::TextKind kind = kind_of(kind_name);
  const Texts texts(sequence);
  const text::MinHasher prototype(permutations);
  py::array_t<std::uint32_t> signatures(std::vector<std::size_t>{texts.size(), permutations});
  std::uint32_t* out = signatures.mutable_data();
  const py::gil_scoped_release release;
  ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
    text::Shingler shingler;
    text::MinHasher hasher = prototype;
    for (std::size_t i = begin; i < end; ++i) {
      hasher(shingler(texts[i], kind), {out + i * permutations, permutations});
    }
  });
  return signatures;
}

template <class T>
std::span<const T> span_of(const py::array_t<T, py::array::c_style | py::array::forcecast>& array) {
  if (array.ndim() != 1) throw py::value_error("expected a one-dimensional array");
  return {array.data(), static_cast<std::size_t>(array.size())};
}

using Indices = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

Indices clusters(std::size_t count, const Indices& first, const Indices& second) {
  const std::vector<std::int64_t> roots = text::clusters(count, span_of(first), span_of(second));
  return Indices(static_cast<py::ssize_t>(roots.size()), roots.data());
}

void add(text::DuplicateIndex& index, const py::iterable& sequence, const std::string& kind, int threads) {
  const Texts texts(sequence);
  const py::gil_scoped_release release;
  ThreadPool pool(threads);
  index.add(texts.views(), kind_of(kind), pool);
}

py::tuple pairs(text::DuplicateIndex& index, int threads) {
  std::vector<text::DuplicatePair> found;
  {
    const py::gil_scoped_release release;
    ThreadPool pool(threads);
    found = index.pairs(pool, [] {  // so that Ctrl-C ends a long search
      const py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    });
  }
  const auto count = static_cast<py::ssize_t>(found.size());
  py::array_t<std::int64_t> first(count);
  py::array_t<std::int64_t> second(count);
  py::array_t<double> jaccard(count);
  for (std::size_t i = 0; i < found.size(); ++i) {
    first.mutable_data()[i] = found[i].first;
    second.mutable_data()[i] = found[i].second;
    jaccard.mutable_data()[i] = found[i].jaccard;
  }
  return py::make_tuple(std::move(first), std::move(second), std::move(jaccard));
}

}  // namespace

void bind_text(py::module_& m) {
  py::list names;
  for (const text::MeasurementField& field : text::measurement_fields()) {
    names.append(py::str(field.name.data(), field.name.size()));
  }
  m.attr("MEASUREMENTS") = py::tuple(names);
  m.def("measure", &measure, py::arg("texts"), py::arg("threads") = 1,
        "Every number that a corpus rule looks at, one array per measurement.");
  m.def("tokens", &tokens, py::arg("text"), py::arg("kind") = "text", "The tokens of a text.");
  m.def("content_hashes", &content_hashes, py::arg("texts"), py::arg("threads") = 1,
        "128-bit hashes of the texts, white space normalised: uint64 [n, 2].");
  m.def("minhash", &minhash, py::arg("texts"), py::arg("kind") = "text", py::arg("permutations") = 128,
        py::arg("threads") = 1, "MinHash signatures of the texts: uint32 [n, permutations].");
  m.def(
      "choose_bands",
      [](double threshold, std::size_t permutations, double recall) {
        const text::Banding banding = text::choose_bands(threshold, permutations, recall);
        return std::pair(banding.bands, banding.rows);
      },
      py::arg("threshold"), py::arg("permutations") = 128, py::arg("recall") = 0.98,
      "Bands and rows that find a pair at the threshold with at least this chance.");
  m.def("clusters", &clusters, py::arg("count"), py::arg("first"), py::arg("second"),
        "The smallest document connected to each document by the pairs.");

  py::class_<text::DuplicateIndex>(m, "DuplicateIndex", "Near-duplicates among documents added in batches.")
      .def(py::init<double, std::size_t, double>(), py::arg("threshold") = 0.7, py::arg("permutations") = 128,
           py::arg("recall") = 0.98)
      .def_property_readonly("bands", [](const text::DuplicateIndex& i) { return i.banding().bands; })
      .def_property_readonly("rows", [](const text::DuplicateIndex& i) { return i.banding().rows; })
      .def("__len__", &text::DuplicateIndex::size)
      .def("add", &add, py::arg("texts"), py::arg("kind") = "text", py::arg("threads") = 1,
           "Adds documents, numbered in the order they come.")
      .def("pairs", &pairs, py::arg("threads") = 1,
           "Verified pairs (first, second, Jaccard similarity), a spanning forest, sorted.");
}

}  // namespace castline
