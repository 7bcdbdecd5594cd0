// JSON text as a value to write again: without what is secret, and with numbers as they were written.

// What stands in place of a secret value.
const REDACTED = "***";

// Parses JSON text. The values of the given keys, at any depth and whatever the case of the key, are replaced. Numbers
// keep their text: 9007199254740993 is no number that JavaScript has.
export function redacted(json, keys) {
  const secret = new Set(keys.map((key) => key.toLowerCase()));
  return JSON.parse(json, function (key, value, { source }) {
    if (!Array.isArray(this) && secret.has(key.toLowerCase())) return REDACTED;
    return typeof value === "number" ? JSON.rawJSON(source) : value;
  });
}
