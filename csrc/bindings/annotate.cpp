#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "bindings/bindings.hpp"
#include "bindings/texts.hpp"
#include "text/contamination.hpp"
#include "text/domains.hpp"
#include "text/private_data.hpp"
#include "text/terms.hpp"
#include "text/token_line.hpp"

namespace castline {
namespace {

std::vector<std::vector<std::uint32_t>> find_terms(const text::TermMatcher& matcher,
                                                   const py::iterable& sequence, int threads) {
  const Texts texts(sequence);
  std::vector<std::vector<std::uint32_t>> found(texts.size());
  const py::gil_scoped_release release;
  ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) found[i] = matcher(texts[i]);
  });
  return found;
}

std::vector<std::string> token_lines(const py::iterable& sequence, std::size_t limit, int threads) {
  const Texts texts(sequence);
  std::vector<std::string> lines(texts.size());
  const py::gil_scoped_release release;
  ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) lines[i] = text::token_line(texts[i], limit);
  });
  return lines;
}

text::PrivateKinds kinds_of(const std::vector<std::string>& names) {
  text::PrivateKinds kinds = 0;
  for (const std::string& name : names) {
    std::size_t kind = 0;
    while (kind < text::kPrivateKinds &&
           text::private_kind_name(static_cast<text::PrivateKind>(kind)) != name)
      ++kind;
    if (kind == text::kPrivateKinds) {
      throw_usage("[private] expected a kind (email, ip, phone, key), but got '" + name + "'");
    }
    kinds = static_cast<text::PrivateKinds>(kinds | 1u << kind);
  }
  return kinds;
}

py::tuple mask_private(const py::iterable& sequence, const std::string& kind_name,
                       const std::vector<std::string>& kind_names, int threads) {
  const text::TextKind kind = kind_of(kind_name);
  const text::PrivateKinds kinds = kinds_of(kind_names);
  const Texts texts(sequence);
  std::vector<std::string> masked(texts.size());
  py::array_t<std::int64_t> counts(std::vector<std::size_t>{texts.size(), text::kPrivateKinds});
  std::int64_t* count = counts.mutable_data();
  std::fill(count, count + texts.size() * text::kPrivateKinds, 0);
  {
    const py::gil_scoped_release release;
    ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::vector<text::PrivateSpan> spans = text::find_private(texts[i], kind, kinds);
        for (const text::PrivateSpan& span : spans) {
          ++count[i * text::kPrivateKinds + static_cast<std::size_t>(span.kind)];
        }
        if (!spans.empty()) masked[i] = text::mask_private(texts[i], spans);
      }
    });
  }
  py::list changed;
  for (const std::string& one : masked) {
    if (one.empty()) {
      changed.append(py::none());
    } else {
      changed.append(py::reinterpret_steal<py::object>(
          PyUnicode_DecodeUTF8(one.data(), static_cast<Py_ssize_t>(one.size()), "replace")));
    }
  }
  return py::make_tuple(std::move(changed), std::move(counts));
}

using Integers = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

py::tuple find_overlaps(const text::ContaminationIndex& index, const py::iterable& sequence, int threads) {
  const Texts texts(sequence);
  const auto count = static_cast<py::ssize_t>(texts.size());
  Integers ngrams(count);
  Integers record(count);
  Integers shared(count);
  std::int64_t* columns[] = {ngrams.mutable_data(), record.mutable_data(), shared.mutable_data()};
  {
    const py::gil_scoped_release release;
    ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
      text::Shingler shingler;
      for (std::size_t i = begin; i < end; ++i) {
        const text::ContaminationIndex::Overlap overlap = index(texts[i], shingler);
        columns[0][i] = overlap.ngrams;
        columns[1][i] = overlap.record;
        columns[2][i] = overlap.shared;
      }
    });
  }
  return py::make_tuple(std::move(ngrams), std::move(record), std::move(shared));
}

}  // namespace

void bind_annotate(py::module_& m) {
  m.def("token_lines", &token_lines, py::arg("texts"), py::arg("limit"), py::arg("threads") = 1,
        "The first tokens of every text in lower case, with spaces between them.");
  py::class_<text::TermMatcher>(m, "TermMatcher", "Finds listed terms in texts.")
      .def(py::init([](const py::iterable& terms, const py::iterable& exceptions) {
             return text::TermMatcher(Texts(terms).views(), Texts(exceptions).views());
           }),
           py::arg("terms"), py::arg("exceptions") = py::tuple())
      .def("__len__", &text::TermMatcher::size)
      .def("find", &find_terms, py::arg("texts"), py::arg("threads") = 1,
           "For every text the numbers of the terms found, in order.");
  py::class_<text::DomainSet>(m, "DomainSet", "Lists of domains, eight bytes for each.")
      .def(py::init([](const py::iterable& lists) { return text::DomainSet(Texts(lists).views()); }),
           py::arg("lists"))
      .def("__len__", &text::DomainSet::size)
      .def("holds", &text::DomainSet::holds, py::arg("host"),
           "Whether the host, in lower case, or a domain that it is in is listed.");
  m.def("mask_private", &mask_private, py::arg("texts"), py::arg("kind") = "text",
        py::arg("kinds") = std::vector<std::string>{"email", "ip", "phone", "key"}, py::arg("threads") = 1,
        "The texts with private data replaced (None where there is none), and counts: int64 [n, 4].");
  py::class_<text::ContaminationIndex>(m, "ContaminationIndex", "The n-grams of evaluation data.")
      .def(py::init([](const py::iterable& sequence, const Integers& records, std::size_t ngram,
                       std::size_t least) {
             const Texts texts(sequence);
             return text::ContaminationIndex(
                 texts.views(), {records.data(), static_cast<std::size_t>(records.size())}, ngram, least);
           }),
           py::arg("texts"), py::arg("records"), py::arg("ngram") = 13, py::arg("least") = 8)
      .def_property_readonly("record_ngrams",
                             [](const text::ContaminationIndex& i) { return i.record_ngrams(); })
      .def("find", &find_overlaps, py::arg("texts"), py::arg("threads") = 1,
           "For every text: places of shared n-grams, the record that shares the most (-1: none), how many.");
}

}  // namespace castline
