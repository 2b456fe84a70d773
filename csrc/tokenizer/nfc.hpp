// Normalization Form C (Unicode standard annex 15), with the Unicode version of Hugging Face tokenizers.
#pragma once

#include <string>
#include <string_view>

namespace castline::tokenizer {

/// `text` (well-formed UTF-8) in NFC: itself where it is already, which is found out quickly; else the
/// normalised text, put into `out`.
std::string_view to_nfc(std::string_view text, std::string& out);

}  // namespace castline::tokenizer
