// What the fields of a form are, from an OpenAPI operation, and what a request with their values looks like. Numbers
// keep their digits: the text of a field is never read as a number of JavaScript.

/** What a reference stands for. */
export function resolved(all, part) {
  let found = part;
  for (let steps = 0; found?.$ref !== undefined && steps < 32; steps += 1) {
    const path = found.$ref.replace(/^#\//, '').split('/');
    found = path.reduce((value, key) => value?.[decodeURIComponent(key).replace(/~1/g, '/').replace(/~0/g, '~')], all);
  }
  return found ?? {};
}

/** Whether a schema, or one of its choices, is such that `test` holds. */
function some(all, schema, test, depth = 0) {
  const own = resolved(all, schema);
  if (test(own)) return true;
  return depth < 8 && (own.anyOf ?? own.oneOf ?? []).some((one) => some(all, one, test, depth + 1));
}

const isFile = ({ format, contentMediaType, contentEncoding }) =>
  format === 'binary' || (contentMediaType === 'application/octet-stream' && contentEncoding === undefined);

/** Whether a field takes a file, or several. */
function filesOf(all, schema) {
  if (some(all, schema, isFile)) return 'one';
  const isList = (own) => own.items !== undefined && some(all, own.items, isFile);
  return some(all, schema, isList) ? 'many' : null;
}

/** Where an operation has its values (in the path, the query, or the body), and the form of its body. */
export function inputsOf(all, operation) {
  const given = (operation.parameters ?? [])
    .map((one) => resolved(all, one))
    .filter((one) => one.in !== 'header')
    .map(({ name, in: place, required = false, schema = {} }) => ({ name, place, required, schema }));
  const content = operation.requestBody?.content ?? {};
  const kind = ['application/json', 'multipart/form-data'].find((one) => content[one] !== undefined);
  if (kind === undefined) return { fields: given, kind: null };
  const body = resolved(all, content[kind].schema);
  if (body.type !== 'object' || body.properties === undefined) {
    const { required = false } = operation.requestBody;
    return { fields: [...given, { name: 'body', place: 'whole', required, schema: body }], kind };
  }
  const named = Object.entries(body.properties).map(([name, schema]) => {
    const required = body.required?.includes(name) === true;
    const files = kind === 'multipart/form-data' ? filesOf(all, schema) : null;
    return { name, place: 'body', required, schema, files };
  });
  return { fields: [...given, ...named], kind };
}

/** The type of a JSON text, or nothing if it is none. */
function typeOf(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

/** Whether values of this type, as `typeOf` names them, fit a schema. */
function takes(all, schema, type) {
  return some(all, schema, (own) => {
    if (own.const !== undefined || own.enum !== undefined) {
      return (own.enum ?? [own.const]).some((value) => typeOf(JSON.stringify(value)) === type);
    }
    if (own.anyOf !== undefined || own.oneOf !== undefined) return false;
    const types = [own.type ?? type].flat();
    return types.includes(type) || (type === 'number' && types.includes('integer'));
  });
}

/** The JSON text of a field. Where a string fits, a text that is no JSON of another fitting type stands for itself. */
export function jsonOf(all, { name, schema }, text) {
  const takesText = takes(all, schema, 'string');
  const others = ['null', 'boolean', 'number', 'array', 'object'].filter((type) => takes(all, schema, type));
  if (takesText && others.length === 0) return JSON.stringify(text);
  const type = typeOf(text);
  if (takesText && !others.includes(type) && type !== 'string') return JSON.stringify(text);
  if (type === null) throw new Error(`${name}: ${JSON.stringify(text)} is not JSON`);
  return text.trim();
}

/** Whether a field has a value: an empty one only if it is required to be a text. */
export const isGiven = (all, { required, schema }, text) =>
  text !== '' || (required && resolved(all, schema).type === 'string');

/** The member of a JSON object that a field becomes. */
export const memberOf = (all, field, text) => `${JSON.stringify(field.name)}:${jsonOf(all, field, text)}`;

/** The address, the body and its type for a call with these values, each `{field, text, files}`. */
export function request(all, path, kind, values) {
  let address = path;
  const query = new URLSearchParams();
  const members = [];
  const form = new FormData();
  let whole;
  for (const { field, text, files } of values) {
    const { name, place } = field;
    for (const file of files ?? []) form.append(name, file);
    if (field.files || !isGiven(all, field, text)) continue;
    if (place === 'path') address = address.replace(`{${name}}`, encodeURIComponent(text));
    else if (place === 'query') query.append(name, text);
    else if (place === 'whole') whole = jsonOf(all, field, text);
    else if (kind === 'multipart/form-data') form.append(name, text);
    else members.push(memberOf(all, field, text));
  }
  // Parts such as `..` would lead elsewhere.
  if (new URL(address, location.origin).pathname !== address.replace(/[?#].*/s, '')) {
    throw new Error(`${address} leads elsewhere`);
  }
  const asked = query.toString();
  const json = whole ?? (members.length > 0 ? `{${members.join(',')}}` : undefined);
  // The browser writes the type of a form, with its boundary.
  const body = kind === 'multipart/form-data' ? { body: form, headers: {} } : jsonBody(json);
  return { address: asked === '' ? address : `${address}?${asked}`, ...body };
}

function jsonBody(json) {
  return { body: json, headers: json === undefined ? {} : { 'content-type': 'application/json' } };
}
