// The plugin {{name}}: refuses calls with the header x-blocked, and adds the header x-seen-by to the others.
#include "bindings/plugin.h"

#include <stdlib.h>

typedef exports_metagate_plugin_before_invoke_borrow_invocation_t invocation_t;
typedef exports_metagate_plugin_before_invoke_verdict_t verdict_t;

// Ends the hook as a fault, for what must not happen: the message and its place are in the log and in `plugin test`.
#define FAIL(message) fail(__FILE__ ":" TEXT(__LINE__) ": " message)
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

__attribute__((unused)) _Noreturn static void fail(const char *text) {
  plugin_string_t line;
  plugin_string_set(&line, text);
  metagate_plugin_log_write(METAGATE_PLUGIN_LOG_LEVEL_ERROR, &line);
  __builtin_trap();
}

static bool has_header(invocation_t call, const char *name) {
  plugin_string_t key, value;
  plugin_string_set(&key, name);  // for arguments: points to the literal
  if (!metagate_plugin_invocation_method_invocation_header(call, &key, &value)) return false;
  plugin_string_free(&value);  // the caller frees what an import returns
  return true;
}

static void set_header(invocation_t call, const char *name, const char *value) {
  plugin_string_t key, text, reason;
  plugin_string_set(&key, name);
  plugin_string_set(&text, value);
  if (!metagate_plugin_invocation_method_invocation_set_header(call, &key, &text, &reason)) plugin_string_free(&reason);
}

static void reject(verdict_t *verdict, uint16_t status, const char *code, const char *message) {
  verdict->tag = EXPORTS_METAGATE_PLUGIN_BEFORE_INVOKE_VERDICT_REJECT;
  verdict->val.reject.status = status;
  plugin_string_dup(&verdict->val.reject.code, code);  // for results: a copy, which the bindings free
  plugin_string_dup(&verdict->val.reject.message, message);
  verdict->val.reject.headers.ptr = NULL;
  verdict->val.reject.headers.len = 0;
}

void exports_metagate_plugin_before_invoke_before_invoke(invocation_t call, verdict_t *verdict) {
  // Edit this line: it decides which calls are refused. bindings/plugin.h lists the other functions of a call.
  if (has_header(call, "x-blocked")) {
    reject(verdict, 403, "blocked", "calls with the header x-blocked are refused");
    return;
  }
  // Later plugins see this header.
  set_header(call, "x-seen-by", "{{name}}");
  verdict->tag = EXPORTS_METAGATE_PLUGIN_BEFORE_INVOKE_VERDICT_PROCEED;
}

// What the documents of functions say of this plugin. Keep it true: list every error with which it ends calls.
void exports_metagate_plugin_declarations_refusals(exports_metagate_plugin_declarations_list_refusal_t *refusals) {
  exports_metagate_plugin_declarations_refusal_t *refusal = calloc(1, sizeof *refusal);
  if (refusal == NULL) FAIL("no memory");
  refusal->status = 403;
  plugin_string_dup(&refusal->code, "blocked");
  plugin_string_dup(&refusal->description, "The call has the header x-blocked.");
  refusals->ptr = refusal;
  refusals->len = 1;
}

void exports_metagate_plugin_declarations_security_schemes(
    exports_metagate_plugin_declarations_list_security_scheme_t *schemes) {
  schemes->ptr = NULL;
  schemes->len = 0;
}
