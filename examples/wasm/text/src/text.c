// Text functions in C: what wit/world.wit promises. Texts are UTF-8.
#include "../bindings/text.h"

#include <stdlib.h>

static bool is_space(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

// Whether a byte is the first one of a character: those that go on with one are 10xxxxxx.
static bool begins_character(uint8_t byte) { return (byte & 0xC0) != 0x80; }

void exports_text_count(text_string_t *text, text_counts_t *counts) {
  *counts = (text_counts_t){.bytes = text->len, .lines = text->len > 0};
  const uint8_t *longest = NULL;
  uint32_t most = 0;
  for (size_t i = 0, start = 0, length = 0; i <= text->len; i++) {
    bool inside = i < text->len;
    if (inside && !is_space(text->ptr[i])) {
      if (length == 0) start = i;
      length += begins_character(text->ptr[i]);
    } else {
      counts->words += length > 0;
      if (length > most) {
        most = length;
        longest = text->ptr + start;
        counts->longest.val.len = i - start;
      }
      length = 0;
    }
    if (inside) {
      counts->characters += begins_character(text->ptr[i]);
      // A line end at the very end begins no other line.
      counts->lines += text->ptr[i] == '\n' && i + 1 < text->len;
    }
  }
  counts->longest.is_some = longest != NULL;
  if (longest != NULL) text_string_dup_n(&counts->longest.val, (const char *)longest, counts->longest.val.len);
  text_string_free(text);
}

void exports_text_slug(text_string_t *text, text_string_t *slug) {
  // In place: a slug is never longer than its text.
  size_t length = 0;
  for (size_t i = 0; i < text->len; i++) {
    uint8_t byte = text->ptr[i];
    if (byte >= 'A' && byte <= 'Z') byte += 'a' - 'A';
    bool stays = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte >= 0x80;
    if (stays) text->ptr[length++] = byte;
    else if (length > 0 && text->ptr[length - 1] != '-') text->ptr[length++] = '-';
  }
  if (length > 0 && text->ptr[length - 1] == '-') length--;
  text_string_dup_n(slug, (const char *)text->ptr, length);
  text_string_free(text);
}
