// The plugin maintenance: answers calls with 503 until it is switched off, except calls that carry the bypass secret.
#include "bindings/plugin.h"
#include "settings.h"

#include <stdlib.h>

typedef exports_metagate_plugin_before_invoke_borrow_invocation_t invocation_t;
typedef exports_metagate_plugin_before_invoke_verdict_t verdict_t;

// Set by `start`, in each instance before its first hook.
static struct settings settings;

bool exports_metagate_plugin_lifecycle_config_schema(plugin_string_t *schema) {
  plugin_string_dup(schema, SETTINGS_SCHEMA);
  return true;
}

bool exports_metagate_plugin_lifecycle_start(plugin_string_t *config, plugin_string_t *error) {
  // The settings stay in the memory of their JSON, which is therefore not freed.
  const char *wrong = settings_read(&settings, (char *)config->ptr, config->len);
  if (wrong == NULL) return true;
  plugin_string_dup(error, wrong);
  return false;
}

void exports_metagate_plugin_declarations_refusals(exports_metagate_plugin_declarations_list_refusal_t *refusals) {
  refusals->ptr = NULL;
  refusals->len = 0;
  if (!settings.enabled) return;
  exports_metagate_plugin_declarations_refusal_t *refusal = malloc(sizeof *refusal);
  plugin_string_t *header = malloc(sizeof *header);
  if (refusal == NULL || header == NULL) abort();
  plugin_string_dup(header, "retry-after");
  refusal->status = 503;
  plugin_string_dup(&refusal->code, "maintenance");
  plugin_string_dup(&refusal->description, "The function is down for maintenance.");
  refusal->headers.ptr = header;
  refusal->headers.len = 1;
  refusals->ptr = refusal;
  refusals->len = 1;
}

void exports_metagate_plugin_declarations_security_schemes(
    exports_metagate_plugin_declarations_list_security_scheme_t *schemes) {
  schemes->ptr = NULL;
  schemes->len = 0;
}

// Text for an import, which does not take ownership of it.
static plugin_string_t lent(struct text text) { return (plugin_string_t){(uint8_t *)text.ptr, text.len}; }

// Compares in constant time, which reveals nothing about how much of a guess was right.
static bool is_same(plugin_string_t guess, struct text secret) {
  volatile uint8_t difference = guess.len != secret.len;
  for (size_t i = 0; i < guess.len; i++) difference |= guess.ptr[i] ^ (uint8_t)secret.ptr[i % secret.len];
  return difference == 0;
}

static bool may_pass(invocation_t call) {
  if (settings.bypass_value.len == 0) return false;
  plugin_string_t name = lent(settings.bypass_header), value;
  if (!metagate_plugin_invocation_method_invocation_header(call, &name, &value)) return false;
  bool passes = is_same(value, settings.bypass_value);
  plugin_string_free(&value);
  // Later plugins and the function do not need the secret, so they do not get it.
  if (passes) metagate_plugin_invocation_method_invocation_remove_header(call, &name);
  return passes;
}

static void dup_number(plugin_string_t *text, uint32_t number) {
  char digits[10];
  char *first = digits + sizeof digits;
  do *--first = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  plugin_string_dup_n(text, first, (size_t)(digits + sizeof digits - first));
}

static void refuse(verdict_t *verdict) {
  metagate_plugin_types_pair_t *retry_after = malloc(sizeof *retry_after);
  if (retry_after == NULL) abort();
  plugin_string_dup(&retry_after->name, "retry-after");
  dup_number(&retry_after->value, settings.retry_after);

  verdict->tag = EXPORTS_METAGATE_PLUGIN_BEFORE_INVOKE_VERDICT_REJECT;
  metagate_plugin_types_problem_t *problem = &verdict->val.reject;
  problem->status = 503;
  plugin_string_dup(&problem->code, "maintenance");
  plugin_string_dup_n(&problem->message, settings.message.ptr, settings.message.len);
  problem->headers.ptr = retry_after;
  problem->headers.len = 1;
}

void exports_metagate_plugin_before_invoke_before_invoke(invocation_t call, verdict_t *verdict) {
  if (settings.enabled && !may_pass(call)) {
    refuse(verdict);
    return;
  }
  verdict->tag = EXPORTS_METAGATE_PLUGIN_BEFORE_INVOKE_VERDICT_PROCEED;
}
