// The settings of the plugin, read from `[plugin.config]`.
#ifndef SETTINGS_H
#define SETTINGS_H

#include "json.h"

struct settings {
  bool enabled;               // false: all calls go on
  struct text message;        // what a caller is told
  uint32_t retry_after;       // seconds, of the answer's Retry-After
  struct text bypass_header;  // who has this header …
  struct text bypass_value;   // … with this value goes on; empty: nobody
};

// The JSON Schema of the settings.
extern const char SETTINGS_SCHEMA[];

// Reads the settings from a JSON object, whose memory they keep and change. Returns the reason of a refusal, or NULL.
const char *settings_read(struct settings *settings, char *json, size_t len);

#endif
