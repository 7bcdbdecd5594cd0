// A reader of the JSON that the settings use: texts, whole numbers and booleans. Each function skips blanks, reads one
// token and returns whether it was present.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A piece of text, not terminated by 0.
struct text {
  const char *ptr;
  size_t len;
};

// The position of the reader.
struct json {
  char *at;
  char *end;
};

struct json json_begin(char *text, size_t len);

// Reads one character of punctuation.
bool json_take(struct json *json, char punctuation);

// Reads a text. It is decoded in place, so it is valid as long as the JSON.
bool json_text(struct json *json, struct text *text);

// Reads a number without a sign, fraction or exponent, below 10^9.
bool json_whole(struct json *json, uint32_t *number);

bool json_bool(struct json *json, bool *value);

#endif
