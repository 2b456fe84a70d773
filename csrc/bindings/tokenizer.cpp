#include "bindings/bindings.hpp"

namespace castline {

void bind_tokenizer(pybind11::module_& m) { (void)m; }

}  // namespace castline
