/* castline's runtime for C: open a package, tokenize, generate, score.
 *
 *   castline_engine* engine = NULL;
 *   if (castline_engine_open("my-package", NULL, &engine) != CASTLINE_OK) puts(castline_last_error());
 *
 * Every function that can fail returns a status; castline_last_error() then says on the same thread what was
 * expected, what was found and what to do. No function throws or keeps a pointer that it was given. An engine
 * may be used from several threads, whose calls take turns. Text is UTF-8 with an explicit length.
 *
 * Option and result structures begin with their size: set it to sizeof the structure (the *_INIT macros do),
 * so that a program and a library of another version agree on what they share.
 */
#ifndef CASTLINE_CASTLINE_H
#define CASTLINE_CASTLINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CASTLINE_API __attribute__((visibility("default")))
#else
#define CASTLINE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum castline_status {
  CASTLINE_OK = 0,
  CASTLINE_ERROR_USAGE = 1,   /* an argument that may not be passed */
  CASTLINE_ERROR_DATA = 2,    /* a damaged or foreign package */
  CASTLINE_ERROR_DEVICE = 3,  /* the machine lacks something: memory, a file, a GPU, a library */
  CASTLINE_ERROR_INTERNAL = 4 /* a bug in castline */
} castline_status;

typedef enum castline_finish_reason {
  CASTLINE_FINISH_STOP = 0,     /* a stop token came */
  CASTLINE_FINISH_LENGTH = 1,   /* max_tokens, or the end of the context */
  CASTLINE_FINISH_CANCELLED = 2 /* a callback said so */
} castline_finish_reason;

typedef struct castline_engine castline_engine;

typedef struct castline_engine_options {
  size_t size;
  const char* backend; /* "cpu", "tensorrt" (an error where it cannot run), or "auto": the best there is */
  int32_t threads;     /* 0: one per processor; no result depends on it */
  /* Where TensorRT's library is looked for: folders or files, separated by ':'; may be NULL. The environment
   * variable CASTLINE_TENSORRT_PATH goes before it, the system's loader after it. */
  const char* tensorrt_path;
} castline_engine_options;
#define CASTLINE_ENGINE_OPTIONS_INIT {sizeof(castline_engine_options), "auto", 0, NULL}

typedef struct castline_engine_info {
  size_t size;
  size_t vocab_size;
  size_t max_context; /* tokens that a sequence may have */
  int32_t threads;
  int32_t has_tokenizer; /* 0: the package works with ids only */
  /* The strings live as long as the engine. */
  const char* backend;   /* cpu, tensorrt */
  const char* weights;   /* f32, int8, ... */
  const char* processor; /* the instruction set, or the device */
  const char* note;      /* why "auto" did not take a better backend; may be empty */
  /* Of the tensorrt backend, empty elsewhere. */
  const char* engine_file; /* the engine that runs, its path in the package */
  const char* library;     /* what runs it, and its version */
} castline_engine_info;
#define CASTLINE_ENGINE_INFO_INIT \
  {sizeof(castline_engine_info), 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL}

/* A new token; valid during the callback. */
typedef struct castline_token {
  size_t size;
  uint32_t id;
  const char* text;   /* the whole characters that this token completes; not terminated */
  size_t text_length; /* 0 while a character is unfinished, and for special tokens */
} castline_token;

typedef struct castline_generate_options {
  size_t size;
  size_t max_tokens;
  float temperature; /* 0: greedy, the next three are then without effect */
  size_t top_k;      /* keep the k likeliest tokens; 0: all */
  float top_p;       /* keep the likeliest tokens that together reach this probability */
  uint64_t seed;     /* the same seed gives the same tokens on any number of threads */
  /* Called for every new token; anything but 0 stops. May be NULL. Must not call the engine. */
  int (*on_token)(void* user, const castline_token* token);
  /* Asked between pieces of work, also while a long prompt is read; anything but 0 stops. May be NULL. */
  int (*should_stop)(void* user);
  void* user;
} castline_generate_options;
#define CASTLINE_GENERATE_OPTIONS_INIT \
  {sizeof(castline_generate_options), 256, 0.0f, 0, 1.0f, 0, NULL, NULL, NULL}

typedef struct castline_generate_result {
  size_t size;
  size_t token_count; /* new tokens, the stop token excluded */
  castline_finish_reason finish_reason;
  int32_t ends_inside_character; /* 1: the tokens end within a character; decoding them ends in U+FFFD */
  double prefill_seconds;        /* reading the prompt and choosing the first token */
  double decode_seconds;         /* all tokens after the first */
} castline_generate_result;
#define CASTLINE_GENERATE_RESULT_INIT \
  {sizeof(castline_generate_result), 0, CASTLINE_FINISH_LENGTH, 0, 0.0, 0.0}

/* The version of the library, "0.1.0". */
CASTLINE_API const char* castline_version(void);

/* What went wrong in the last call that failed on this thread; valid until the next one fails. */
CASTLINE_API const char* castline_last_error(void);

/* Opens the package in a folder. Checks its manifest and the sizes of its files; options may be NULL. */
CASTLINE_API castline_status castline_engine_open(const char* package, const castline_engine_options* options,
                                                  castline_engine** engine);

/* Ends an engine; NULL is allowed. No call may be running. */
CASTLINE_API void castline_engine_close(castline_engine* engine);

CASTLINE_API castline_status castline_engine_get_info(const castline_engine* engine,
                                                      castline_engine_info* info);

/* Reads every file of the package and compares its SHA-256 with the manifest's. */
CASTLINE_API castline_status castline_engine_verify(const castline_engine* engine);

/* Writes the ids of a text, at most `capacity`, and sets `count` to how many there are: call with capacity 0
 * to ask. `add_special` adds what the tokenizer adds around a text. */
CASTLINE_API castline_status castline_encode(const castline_engine* engine, const char* text, size_t length,
                                             int add_special, uint32_t* ids, size_t capacity, size_t* count);

/* Writes the text of ids, at most `capacity` bytes, without a terminator, and sets `length` to how many there
 * are. What is not UTF-8 becomes U+FFFD. `skip_special` leaves out special tokens. */
CASTLINE_API castline_status castline_decode(const castline_engine* engine, const uint32_t* ids, size_t count,
                                             int skip_special, char* text, size_t capacity, size_t* length);

/* Continues a prompt of at least one token. `options` and `result` may be NULL. */
CASTLINE_API castline_status castline_generate(castline_engine* engine, const uint32_t* prompt, size_t count,
                                               const castline_generate_options* options,
                                               castline_generate_result* result);

/* Writes the natural log-probability of each of ids[1:], given all before it: count - 1 floats. */
CASTLINE_API castline_status castline_score(castline_engine* engine, const uint32_t* ids, size_t count,
                                            float* log_probabilities);

/* Writes the logits after every token: count * vocab_size floats, which `capacity` must equal. */
CASTLINE_API castline_status castline_logits(castline_engine* engine, const uint32_t* ids, size_t count,
                                             float* logits, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* CASTLINE_CASTLINE_H */
