// The settings of the plugin: schema, defaults and reader. The reader also refuses values that the schema has ruled out
// already.
#include "settings.h"

#include <string.h>

// One day: no client waits longer than that.
#define RETRY_AFTER_MAX 86400

const char SETTINGS_SCHEMA[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"enabled\":{\"type\":\"boolean\",\"default\":true},"
    "\"message\":{\"type\":\"string\",\"minLength\":1,\"default\":\"down for maintenance\"},"
    "\"retry_after\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":86400,\"default\":60},"
    "\"bypass_header\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9-]+$\",\"default\":\"x-maintenance-bypass\"},"
    "\"bypass_value\":{\"type\":\"string\",\"minLength\":1}"
    "}}";

static struct text literal(const char *text) { return (struct text){text, strlen(text)}; }

static bool is(struct text text, const char *other) {
  return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

// Whether a text is a valid header name.
static bool is_name(struct text text) {
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return text.len > 0;
}

// Reads the value of one key; returns its fault, or NULL.
static const char *read_value(struct settings *settings, struct text key, struct json *json) {
  if (is(key, "enabled")) {
    return json_bool(json, &settings->enabled) ? NULL : "enabled: neither true nor false";
  }
  if (is(key, "message")) {
    return json_text(json, &settings->message) && settings->message.len > 0 ? NULL : "message: not a text";
  }
  if (is(key, "retry_after")) {
    bool is_whole = json_whole(json, &settings->retry_after);
    if (is_whole && settings->retry_after >= 1 && settings->retry_after <= RETRY_AFTER_MAX) return NULL;
    return "retry_after: not a whole number of seconds from 1 to 86400";
  }
  if (is(key, "bypass_header")) {
    return json_text(json, &settings->bypass_header) && is_name(settings->bypass_header)
               ? NULL
               : "bypass_header: not the name of a header";
  }
  if (is(key, "bypass_value")) {
    return json_text(json, &settings->bypass_value) && settings->bypass_value.len > 0
               ? NULL
               : "bypass_value: not a text; leave it out to let nobody pass";
  }
  return "unknown key; there are enabled, message, retry_after, bypass_header and bypass_value";
}

const char *settings_read(struct settings *settings, char *text, size_t len) {
  settings->enabled = true;
  settings->message = literal("down for maintenance");
  settings->retry_after = 60;
  settings->bypass_header = literal("x-maintenance-bypass");
  settings->bypass_value = literal("");

  struct json json = json_begin(text, len);
  if (!json_take(&json, '{')) return "not a JSON object";
  if (json_take(&json, '}')) return NULL;
  do {
    struct text key;
    if (!json_text(&json, &key) || !json_take(&json, ':')) return "not a JSON object";
    const char *wrong = read_value(settings, key, &json);
    if (wrong != NULL) return wrong;
  } while (json_take(&json, ','));
  return json_take(&json, '}') ? NULL : "not a JSON object";
}
