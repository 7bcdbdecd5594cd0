// A reader of JSON as far as the settings need it: texts, whole numbers and booleans. Each function skips blanks, reads one
// thing and returns whether it was there.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A piece of text, without a 0 at its end.
struct text {
  const char *ptr;
  size_t len;
};

// Where the reader is.
struct json {
  char *at;
  char *end;
};

struct json json_begin(char *text, size_t len);

// Reads one character of punctuation.
bool json_take(struct json *json, char punctuation);

// Reads a text. It is decoded where it stands, so it lives as long as the JSON does.
bool json_text(struct json *json, struct text *text);

// Reads a number without a sign, fraction or exponent, below 10^9.
bool json_whole(struct json *json, uint32_t *number);

bool json_bool(struct json *json, bool *value);

#endif
