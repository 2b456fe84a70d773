/* Prints the log-probability of every token of a text, in plain C:  score PACKAGE TEXT */
#include <castline/castline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(castline_status status) {
  if (status != CASTLINE_OK) fprintf(stderr, "%s\n", castline_last_error());
  return status != CASTLINE_OK;
}

int main(int argc, char** argv) {
  castline_engine* engine = NULL;
  uint32_t* ids = NULL;
  float* scores = NULL;
  size_t count = 0;
  int code = 1;
  if (argc != 3) {
    fprintf(stderr, "usage: score PACKAGE TEXT\n");
    return 2;
  }
  if (failed(castline_engine_open(argv[1], NULL, &engine))) return 1;
  if (failed(castline_encode(engine, argv[2], strlen(argv[2]), 0, NULL, 0, &count))) goto done;
  ids = malloc((count + 1) * sizeof *ids);
  scores = malloc((count + 1) * sizeof *scores);
  if (ids == NULL || scores == NULL) goto done;
  if (failed(castline_encode(engine, argv[2], strlen(argv[2]), 0, ids, count, &count))) goto done;
  if (failed(castline_score(engine, ids, count, scores))) goto done;
  for (size_t i = 1; i < count; ++i) printf("%u %.6f\n", (unsigned)ids[i], scores[i - 1]);
  code = 0;
done:
  free(ids);
  free(scores);
  castline_engine_close(engine);
  return code;
}
