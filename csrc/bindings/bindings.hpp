#pragma once

#include <pybind11/pybind11.h>

namespace castline {

void bind_annotate(pybind11::module_& m);
void bind_chat(pybind11::module_& m);
void bind_ngram(pybind11::module_& m);
void bind_text(pybind11::module_& m);
void bind_tokenizer(pybind11::module_& m);
void bind_quantize(pybind11::module_& m);
void bind_runtime(pybind11::module_& m);

}  // namespace castline
