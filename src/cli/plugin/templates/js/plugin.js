// The plugin {{name}}: refuses calls with the header `x-blocked`, and adds the header `x-seen-by` to the others.

export const beforeInvoke = {
  beforeInvoke(call) {
    // Edit this line: it decides which calls are refused. `call` also has function(), arguments(), peer(), …
    if (call.header("x-blocked") !== undefined) {
      return {
        tag: "reject",
        val: { status: 403, code: "blocked", message: "calls with the header x-blocked are refused", headers: [] },
      };
    }
    // Later plugins see this header. A setter throws on an invalid header; the hook fails if nothing catches it.
    call.setHeader("x-seen-by", "{{name}}");
    return { tag: "proceed" };
  },
};

// What the documents of functions say of this plugin. Keep it true: list every error with which it ends calls.
export const declarations = {
  refusals() {
    return [{ status: 403, code: "blocked", description: "The call has the header x-blocked.", headers: [] }];
  },

  securitySchemes() {
    return [];
  },
};
