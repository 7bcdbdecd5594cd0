// Reads JSON text into a value for output: secrets are replaced, and numbers keep their text.

// The text that replaces a secret value.
const REDACTED = "***";

// Parses JSON text. The values of the given keys, at any depth and whatever the case of the key, are replaced. Numbers
// keep their text: JavaScript cannot represent 9007199254740993.
export function redacted(json, keys) {
  const secret = new Set(keys.map((key) => key.toLowerCase()));
  return JSON.parse(json, function (key, value, { source }) {
    if (!Array.isArray(this) && secret.has(key.toLowerCase())) return REDACTED;
    return typeof value === "number" ? JSON.rawJSON(source) : value;
  });
}
