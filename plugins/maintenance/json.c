#include "json.h"

#include <string.h>

struct json json_begin(char *text, size_t len) { return (struct json){text, text + len}; }

static void skip_blanks(struct json *json) {
  while (json->at < json->end && strchr(" \t\r\n", *json->at) != NULL && *json->at != '\0') json->at++;
}

bool json_take(struct json *json, char punctuation) {
  skip_blanks(json);
  if (json->at == json->end || *json->at != punctuation) return false;
  json->at++;
  return true;
}

static bool word(struct json *json, const char *word) {
  size_t len = strlen(word);
  skip_blanks(json);
  if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0) return false;
  json->at += len;
  return true;
}

bool json_bool(struct json *json, bool *value) {
  *value = word(json, "true");
  return *value || word(json, "false");
}

bool json_whole(struct json *json, uint32_t *number) {
  skip_blanks(json);
  char *begin = json->at;
  *number = 0;
  while (json->at < json->end && *json->at >= '0' && *json->at <= '9' && json->at - begin < 9) {
    *number = *number * 10 + (uint32_t)(*json->at++ - '0');
  }
  bool goes_on = json->at < json->end && strchr("0123456789.eE", *json->at) != NULL && *json->at != '\0';
  return json->at > begin && !goes_on;
}

// Reads the four digits of \uXXXX.
static bool hexadecimal(struct json *json, uint32_t *unit) {
  if (json->end - json->at < 4) return false;
  *unit = 0;
  for (int i = 0; i < 4; i++) {
    char c = *json->at++;
    uint32_t digit;
    if (c >= '0' && c <= '9') digit = (uint32_t)(c - '0');
    else if (c >= 'a' && c <= 'f') digit = (uint32_t)(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F') digit = (uint32_t)(c - 'A') + 10;
    else return false;
    *unit = *unit << 4 | digit;
  }
  return true;
}

// Reads the digits after \u, and those of the second half of a pair, and writes the character in UTF-8.
static bool code_point(struct json *json, char **out) {
  uint32_t code, low;
  if (!hexadecimal(json, &code)) return false;
  if (code >= 0xD800 && code <= 0xDFFF) {
    bool has_low = code < 0xDC00 && json->end - json->at >= 6 && json->at[0] == '\\' && json->at[1] == 'u';
    if (!has_low) return false;
    json->at += 2;
    if (!hexadecimal(json, &low) || low < 0xDC00 || low > 0xDFFF) return false;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  int continued = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const uint8_t FIRST[] = {0x00, 0xC0, 0xE0, 0xF0};
  *(*out)++ = (char)(FIRST[continued] | code >> (6 * continued));
  while (continued-- > 0) *(*out)++ = (char)(0x80 | (code >> (6 * continued) & 0x3F));
  return true;
}

static bool escape(struct json *json, char **out) {
  static const char NAMES[] = "\"\\/bfnrt";
  static const char VALUES[] = "\"\\/\b\f\n\r\t";
  if (json->at == json->end) return false;
  char name = *json->at++;
  if (name == 'u') return code_point(json, out);
  const char *found = name == '\0' ? NULL : strchr(NAMES, name);
  if (found == NULL) return false;
  *(*out)++ = VALUES[found - NAMES];
  return true;
}

bool json_text(struct json *json, struct text *text) {
  if (!json_take(json, '"')) return false;
  // No escape is shorter than the character that it denotes, so writing never overtakes reading.
  char *out = json->at;
  text->ptr = out;
  while (json->at < json->end) {
    char c = *json->at++;
    if (c == '"') {
      text->len = (size_t)(out - text->ptr);
      return true;
    }
    if (c == '\\') {
      if (!escape(json, &out)) return false;
    } else {
      *out++ = c;
    }
  }
  return false;
}
