#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "base/parallel.hpp"
#include "bindings/bindings.hpp"
#include "bindings/texts.hpp"
#include "text/characters.hpp"
#include "text/duplicate_index.hpp"
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

void count_characters(const py::iterable& sequence, py::array_t<std::int64_t, py::array::c_style>& counts) {
  const Texts texts(sequence);
  if (static_cast<std::size_t>(counts.size()) != text::kCodePoints) {
    throw_usage("[text] expected counts of shape [0x110000], but got " + std::to_string(counts.size()));
  }
  const std::span<std::int64_t, text::kCodePoints> all(counts.mutable_data(), text::kCodePoints);
  const py::gil_scoped_release release;
  for (const std::string_view one : texts.views()) text::count_characters(one, all);
}

py::array_t<std::uint64_t> content_hashes(const py::iterable& sequence, int threads) {
  const Texts texts(sequence);
  py::array_t<std::uint64_t> hashes(std::vector<std::size_t>{texts.size(), 2});
  std::uint64_t* out = hashes.mutable_data();
  const py::gil_scoped_release release;
  ThreadPool(threads).run(texts.size(), kTextsPerTask, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const text::Hash128 hash = text::content_hash(texts[i]);
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

using KnownClusters = py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>;
using Hashes = py::array_t<std::uint64_t, py::array::c_style | py::array::forcecast>;

void add(text::IndexBuilder& index, const py::iterable& sequence, const std::string& kind,
         const std::optional<Hashes>& contents, int threads) {
  const Texts texts(sequence);
  std::vector<text::Hash128> hashes;
  if (contents) {
    if (contents->ndim() != 2 || contents->shape(1) != 2) throw py::value_error("expected hashes [n, 2]");
    for (py::ssize_t i = 0; i < contents->shape(0); ++i)
      hashes.push_back({contents->at(i, 0), contents->at(i, 1)});
  }
  const py::gil_scoped_release release;
  ThreadPool pool(threads);
  index.add(texts.views(), kind_of(kind), hashes, pool);
}

py::bytes index_bytes(const text::IndexBuilder& index) {
  const std::size_t words = index.words();
  py::bytes bytes(nullptr, words * sizeof(std::uint64_t));
  // The bytes of a Python object are not aligned to words.
  std::vector<std::uint64_t> file(words);
  index.write(file);
  std::memcpy(PyBytes_AS_STRING(bytes.ptr()), file.data(), words * sizeof(std::uint64_t));
  return bytes;
}

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple find_duplicates(const std::vector<std::string>& files, double threshold, const KnownClusters& known,
                          bool exact, std::size_t memory, int threads) {
  text::Duplicates found;
  {
    const std::span<const std::uint32_t> clusters = span_of(known);
    const py::gil_scoped_release release;
    ThreadPool pool(threads);
    found = text::find_duplicates(files, clusters, {threshold, exact, memory}, pool,
                                  [] {  // so that Ctrl-C ends a long search
                                    const py::gil_scoped_acquire acquire;
                                    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
                                  });
  }
  std::vector<std::uint32_t> first;
  std::vector<std::uint32_t> second;
  std::vector<double> jaccard;
  for (const text::DuplicatePair& pair : found.pairs) {
    first.push_back(pair.first);
    second.push_back(pair.second);
    jaccard.push_back(pair.jaccard);
  }
  return py::make_tuple(array_of(first), array_of(second), array_of(jaccard), array_of(found.clusters));
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
  m.def("count_characters", &count_characters, py::arg("texts"), py::arg("counts").noconvert(),
        "Adds how often each code point beyond ASCII occurs to counts: int64 [0x110000].");
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
  py::class_<text::IndexBuilder>(m, "DuplicateIndex", "What a search for duplicates needs of documents.")
      .def(py::init([](double threshold, std::size_t permutations, double recall, bool near) {
             return near ? text::IndexBuilder(permutations,
                                              text::choose_bands(threshold, permutations, recall))
                         : text::IndexBuilder(0, {});
           }),
           py::arg("threshold") = 0.7, py::arg("permutations") = 128, py::arg("recall") = 0.98, py::kw_only(),
           py::arg("near") = true)
      .def_property_readonly("bands", [](const text::IndexBuilder& i) { return i.banding().bands; })
      .def_property_readonly("rows", [](const text::IndexBuilder& i) { return i.banding().rows; })
      .def("__len__", &text::IndexBuilder::size)
      .def("add", &add, py::arg("texts"), py::arg("kind") = "text", py::arg("contents") = py::none(),
           py::arg("threads") = 1, "Adds documents, numbered in the order they come.")
      .def("__bytes__", &index_bytes, "The index as a file for find_duplicates.");
  m.def("find_duplicates", &find_duplicates, py::arg("files"), py::arg("threshold") = 0.7, py::kw_only(),
        py::arg("known") = KnownClusters(0), py::arg("exact") = true,
        py::arg("memory") = std::size_t{1} << 30, py::arg("threads") = 1,
        "Verified pairs (first, second, Jaccard similarity), a spanning forest, sorted; and every document's "
        "cluster.");
}

}  // namespace castline
