// The plugin {{name}}: refuses calls with the header `x-blocked`, and marks the others with `x-seen-by`.

export const beforeInvoke = {
  beforeInvoke(call) {
    // The line to edit: which calls are refused. `call` also has function(), arguments(), peer(), context(key), …
    if (call.header("x-blocked") !== undefined) {
      return {
        tag: "reject",
        val: { status: 403, code: "blocked", message: "calls with the header x-blocked are refused", headers: [] },
      };
    }
    // Seen by the plugins after this one. A setter throws on what is no header; what is not caught is a failed hook.
    call.setHeader("x-seen-by", "{{name}}");
    return { tag: "proceed" };
  },
};
