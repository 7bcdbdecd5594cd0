// The JSON Schema of `[plugin.config]`, and with it the defaults.

export const schema = {
  type: "object",
  additionalProperties: false,
  properties: {
    include_arguments: {
      description: "Whether the line has the call's arguments.",
      type: "boolean",
      default: false,
    },
    redact: {
      description: 'Keys, at any depth of the arguments and in any case, whose values are written as "***".',
      type: "array",
      items: { type: "string", minLength: 1 },
      default: ["password"],
    },
    max_arguments: {
      description: "Arguments longer than this, in bytes, are left out; the line then has their size.",
      type: "integer",
      minimum: 0,
      maximum: 16384,
      default: 4096,
    },
    headers: {
      description: "Request headers that the line has.",
      type: "array",
      items: { type: "string", pattern: "^[a-z0-9-]+$" },
      maxItems: 16,
      default: [],
    },
  },
};
