// Types of Node functions: a declared type becomes a check and a JSON Schema, once, when a script is loaded.
// node_jsdoc.js and node_typescript.js read the declarations, node_binding.js makes the checks of functions of these.
//
// A type is plain JSON:
//
//   {is: 'any'} {is: 'number'} 'integer' 'string' 'boolean' 'null' 'undefined' 'bigint' 'Date' 'URL' 'bytes' 'File'
//   {is: 'literal', value}          {is: 'array', of}            {is: 'tuple', of: [type], least, rest}
//   {is: 'set', of}                 {is: 'map', of}              {is: 'union', of: [type]}
//   {is: 'object', name, fields: {key: {type, optional, description}}, others}    {is: 'ref', name}: of a named one
//   {is: 'stream', of}: what a function returns that gives its results one after another
//
// Texts of a query or a form are converted to the declared types (`"7"` for a number); JSON text never is.
//
// A number of JSON of more digits than JavaScript keeps is a `LongNumber` in the arguments of functions with `integer`
// or `bigint` among their types, until they are checked.
'use strict';

const { randomUUID } = require('crypto');
const { isUint8Array } = require('util').types;

const { stringify } = JSON;

const WORD = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;
const FOUND_LENGTH = 80; // characters of a value in a message
const NAME_LENGTH = 60; // characters of a type's text
const TYPES = 2_000; // types of one function: more, as of one that expands without end, take any value

// A value that does not fit a type; `path` leads to it from the argument.
class Misfit {
  constructor(expected, value, message) {
    Object.assign(this, { expected, value, message, path: '' });
  }

  at(step) {
    this.path = step + this.path;
    return this;
  }
}

function short(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function found(value) {
  if (isFile(value)) return short(`file ${stringify(value.name)}`, FOUND_LENGTH);
  return short(value instanceof LongNumber ? value.text : stringify(value) ?? 'undefined', FOUND_LENGTH);
}

// --- plain types -----------------------------------------------------------------------------------------------------

const NUMBER = /^\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?\s*$/i; // one way only to read digits, or it is quadratic
const TRUE = /^\s*(?:true|1|yes|on)\s*$/i;
const FALSE = /^\s*(?:false|0|no|off)\s*$/i;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(:(\d\d)(?:\.\d+)?)?(Z|[-+](\d\d):?(\d\d))?)?$/i;
const NUMBER_LENGTH = 4_300; // digits of a number, as in Python: reading more takes long

// What `make` returns for a value, unless that is undefined.
function plain(expected, schema, isExact, make) {
  const check = (value, isText) => {
    if (isExact(value)) return value;
    const made = make(value, isText);
    if (made === undefined) throw new Misfit(expected, value);
    return made;
  };
  return { check, schema, expected, isExact };
}

const never = () => undefined;

function numberOf(value, isText) {
  if (value instanceof LongNumber) return numberOf(value.text, true);
  const number = isText && typeof value === 'string' && NUMBER.test(value) ? Number(value) : undefined;
  return Number.isFinite(number) ? number : undefined;
}

// A number that other whole numbers are rounded to is none that the caller is known to have meant.
function integerOf(value, isText) {
  const number = value instanceof LongNumber ? value.whole() : numberOf(value, isText);
  return Number.isSafeInteger(Number(number)) ? Number(number) : undefined;
}

function booleanOf(value, isText) {
  if (!isText || typeof value !== 'string') return undefined;
  return TRUE.test(value) ? true : FALSE.test(value) ? false : undefined;
}

function bigintOf(value) {
  if (Number.isSafeInteger(value)) return BigInt(value);
  if (value instanceof LongNumber) return value.whole();
  const [, sign, digits = ''] = (typeof value === 'string' && /^\s*([-+]?)(\d+)\s*$/.exec(value)) || [];
  if (digits === '' || digits.length > NUMBER_LENGTH) return undefined;
  return sign === '-' ? -BigInt(digits) : BigInt(digits);
}

// `Date` takes days that do not exist for some of the next month, and reads other forms as it likes.
function dateOf(value) {
  const parts = typeof value === 'string' ? DATE.exec(value) : null;
  if (parts === null) return undefined;
  const [, year, month, day, hour = 0, minute = 0, , second = 0, zone = '', zoneHour = 0, zoneMinute = 0] = parts;
  const days = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > days) return undefined;
  if (hour > 23 || minute > 59 || second > 59 || zoneHour > 23 || zoneMinute > 59) return undefined;
  const digits = value.slice(0, value.length - zone.length).replace(/[ t]/, 'T');
  const date = new Date(digits + zone.toUpperCase().replace(/^(...)(\d\d)$/, '$1:$2'));
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function urlOf(value) {
  try {
    return typeof value === 'string' ? new URL(value) : undefined;
  } catch {
    return undefined;
  }
}

// Of a file in the body, and of text in base64. A body of bytes is there as it is.
function bytesOf(value) {
  if (isFile(value)) return require('./node_bodies.js').bytesOf(value);
  return typeof value === 'string' && BASE64.test(value) ? Buffer.from(value, 'base64') : undefined;
}

// Whether it is a file in the body of the request.
function isFile(value) {
  return value !== null && typeof value === 'object' && require('./node_bodies.js').isFile(value);
}

const isFalse = () => false;
const DIGITS = '^[ \\t\\n\\r]*[-+]?[0-9]+[ \\t\\n\\r]*$'; // the text of a bigint
const SAFE_INTEGER = { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER };
const PLAIN = {
  number: plain('number', { type: 'number' }, Number.isFinite, numberOf),
  integer: plain('integer', SAFE_INTEGER, Number.isSafeInteger, integerOf),
  string: plain('string', { type: 'string' }, (value) => typeof value === 'string', never),
  boolean: plain('boolean', { type: 'boolean' }, (value) => typeof value === 'boolean', booleanOf),
  null: plain('null', { type: 'null' }, (value) => value === null, never),
  undefined: plain('nothing', { not: {} }, (value) => value === undefined, never),
  bigint: plain('integer', { type: ['integer', 'string'], pattern: DIGITS }, isFalse, bigintOf),
  Date: plain('date and time (ISO 8601)', { type: 'string', format: 'date-time' }, isFalse, dateOf),
  URL: plain('URL', { type: 'string', format: 'uri' }, isFalse, urlOf),
  bytes: plain('base64 text', { type: 'string', contentEncoding: 'base64' }, isUint8Array, bytesOf),
  File: plain('file', { type: 'string', format: 'binary' }, isFile, never),
};
const ANY = { check: (value) => value, schema: {}, expected: 'any value', isExact: () => true, isAny: true };
// Results are of other forms: bytes are text where they can be, and what a file is depends on where it is.
const BYTES_OF_RESULT = { type: 'string', description: 'Text if the bytes are UTF-8, else base64.' };
const RESULTS = {
  bytes: { ...PLAIN.bytes, schema: BYTES_OF_RESULT },
  bigint: { ...PLAIN.bigint, schema: { type: 'integer' } }, // with all its digits
  File: ANY,
};

// --- long numbers ----------------------------------------------------------------------------------------------------

// What may be a number of more digits than JavaScript keeps, or look like one.
const LONG = /\d[\d.]{15}|\d[eE]/;
const STRING_OR_NUMBER = /"(?:[^"\\]+|\\.)*"|-?\d[\d.]*(?:[eE][-+]?\d+)?/g;
const PARTS = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d{1,5}))?$/;

// A number of JSON, as the caller wrote it.
class LongNumber {
  constructor(text) {
    this.text = text;
  }

  // Its value as a bigint; undefined if it has a fraction, or too many digits.
  whole() {
    const [, sign, units, fraction = '', exponent = 0] = PARTS.exec(this.text) ?? [];
    if (units === undefined) return undefined;
    const shift = Number(exponent) - fraction.length; // the number is `digits` times ten to the power of this
    let digits = units + fraction;
    if (/^0*$/.test(digits)) return 0n;
    if (digits.length + Math.max(shift, 0) > NUMBER_LENGTH) return undefined;
    if (shift < 0 && !/^0*$/.test(digits.slice(shift))) return undefined;
    digits = shift < 0 ? digits.slice(0, shift) : digits + '0'.repeat(shift);
    return sign === '-' ? -BigInt(digits) : BigInt(digits);
  }

  toJSON() {
    return Number(this.text);
  }
}

// The message of a line with `LongNumber`s in it, which pass `JSON.parse` as texts of a start that no other has; or
// undefined if the line has none.
function withLongNumbers(json) {
  if (!LONG.test(json.slice(json.indexOf('"args"')))) return undefined;
  const mark = randomUUID();
  const text = json.replace(STRING_OR_NUMBER, (one) => (one[0] !== '"' && LONG.test(one) ? `"${mark}${one}"` : one));
  const isLong = (value) => typeof value === 'string' && value.startsWith(mark);
  return JSON.parse(text, (_, value) => (isLong(value) ? new LongNumber(value.slice(mark.length)) : value));
}

// The value with numbers in place of the `LongNumber`s that no type has taken.
function withoutLongNumbers(value) {
  if (value instanceof LongNumber) return value.toJSON();
  if (Array.isArray(value)) value.forEach((one, at) => { value[at] = withoutLongNumbers(one); });
  else if (value instanceof Map) value.forEach((one, key) => value.set(key, withoutLongNumbers(one)));
  else if (value instanceof Set) {
    const items = [...value].map(withoutLongNumbers);
    value.clear();
    items.forEach((one) => value.add(one));
  } else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    for (const key of Object.keys(value)) put(value, undefined, key, withoutLongNumbers(value[key]));
  }
  return value;
}

// --- types with parts ------------------------------------------------------------------------------------------------

// Makes the types of one function; those of its results are only described, as what node.js makes of values.
class Compiler {
  constructor(isResult = false) {
    this.isResult = isResult;
    this.open = new Map(); // named types that are being made, for those that contain themselves
    this.inside = new Set(); // those of them that do
    this.needsDigits = false; // a type keeps all digits of numbers
    this.made = 0;
  }

  // A type with its whole schema.
  whole(type) {
    this.defs = Object.create(null);
    const made = this.typeOf(type);
    return Object.keys(this.defs).length === 0 ? made : { ...made, schema: { ...made.schema, $defs: this.defs } };
  }

  // A type inside itself.
  again(name) {
    const place = this.open.get(name);
    if (place === undefined) return ANY;
    this.inside.add(name);
    const schema = { $ref: `#/$defs/${pointer(name)}` };
    const check = (value, isText) => place.check(value, isText);
    return { check, schema, expected: place.expected, isExact: isFalse, isObject: true };
  }

  typeOf(type) {
    this.made += 1;
    if (this.made > TYPES || type === undefined) return ANY;
    this.needsDigits ||= type.is === 'integer' || type.is === 'bigint';
    switch (type.is) {
      case 'any': return ANY;
      case 'literal': return literals([type.value]);
      case 'array': return this.array(type);
      case 'set': return this.set(type);
      case 'map': return this.map(type);
      case 'tuple': return this.tuple(type);
      case 'object': return this.object(type);
      case 'union': return this.union(type);
      case 'ref': return this.again(type.name);
      default: return (this.isResult && RESULTS[type.is]) || (PLAIN[type.is] ?? ANY);
    }
  }

  array({ of }) {
    const item = this.typeOf(of);
    const check = (value, isText) => {
      if (Array.isArray(value)) return item.isAny ? value : eachItem(value, () => item, isText);
      if (!isText) throw new Misfit('array', value);
      return eachItem([value], () => item, isText); // a key that comes once
    };
    const schema = item.isAny ? { type: 'array' } : { type: 'array', items: item.schema };
    return { check, schema, expected: 'array', isExact: isFalse };
  }

  set(type) {
    const { check, schema } = this.array(type);
    const make = (value, isText) => new Set(check(value, isText));
    return { check: make, schema, expected: 'array', isExact: isFalse };
  }

  map(type) {
    const record = this.object({ is: 'object', fields: {}, others: type.of ?? { is: 'any' } });
    return { ...record, check: (value, isText) => new Map(Object.entries(record.check(value, isText))) };
  }

  tuple({ of, least = of.length, rest }) {
    const items = of.map((one) => this.typeOf(one));
    const others = rest && this.typeOf(rest);
    const expected = `array of ${others ? `${least} or more` : least < of.length ? `${least} to ${of.length}` : least}`;
    const check = (value, isText) => {
      if (!Array.isArray(value) || value.length < least || (!others && value.length > of.length)) {
        throw new Misfit(expected, value);
      }
      return eachItem(value, (at) => items[at] ?? others, isText);
    };
    const schema = { type: 'array', prefixItems: items.map((item) => item.schema), minItems: least };
    const end = others ? { items: others.schema } : { maxItems: of.length };
    return { check, schema: { ...schema, ...end }, expected, isExact: isFalse };
  }

  object({ name, fields, others }) {
    const expected = name === undefined ? 'object' : `object (${name})`;
    const made = { schema: {}, expected, isExact: isFalse, isObject: true };
    made.fields = Object.keys(fields);
    made.marks = new Map(); // types of fields that take a few values only, such as `kind: 'circle'`
    made.hasFreeKeys = others !== undefined || made.fields.length === 0;
    if (name !== undefined) this.open.set(name, made);
    const known = new Map();
    for (const [key, { type, optional }] of Object.entries(fields)) {
      known.set(key, { type: this.typeOf(type), isOptional: optional === true || takesNothing(type) });
      if (isOfFew(type)) made.marks.set(key, known.get(key).type);
    }
    const rest = others && this.typeOf(others);
    made.check = (value, isText) => {
      if (!isRecord(value)) throw new Misfit(expected, value);
      let checked = value;
      for (const [key, { type, isOptional }] of known) {
        if (!Object.hasOwn(value, key)) {
          if (isOptional) continue;
          const whole = name === undefined ? '' : ` of ${name}`;
          throw new Misfit(name ?? 'object', value, `field ${stringify(key)}${whole} is missing`).at(step(key));
        }
        if (!type.isAny) checked = put(checked, value, key, part(type, value[key], step(key), isText));
      }
      if (rest === undefined || rest.isAny) return checked;
      for (const key of Object.keys(value)) {
        if (!known.has(key)) checked = put(checked, value, key, part(rest, value[key], step(key), isText));
      }
      return checked;
    };
    if (name !== undefined) this.open.delete(name);
    made.schema = schemaOfObject(name, fields, known, rest);
    if (this.inside.delete(name)) {
      this.defs[name] = made.schema;
      made.schema = { $ref: `#/$defs/${pointer(name)}` };
    }
    return made;
  }

  union({ of }) {
    const values = of.filter((one) => one.is === 'literal').map((one) => one.value);
    const others = of.filter((one) => one.is !== 'literal' && one.is !== 'undefined');
    const members = others.map((one) => this.typeOf(one));
    if (members.some((member) => member.isAny)) return ANY;
    if (values.length > 0) members.unshift(literals(values));
    if (members.length === 1) return members[0];
    const expected = [...new Set(members.map((member) => member.expected))].join(' or ');
    const takesText = members.some((member) => member === PLAIN.string || member.takesText);
    const check = (value, isFromText) => {
      const isText = isFromText && !(takesText && typeof value === 'string'); // it stays text, as in JSON
      if (members.some((member) => member.isExact(value))) return value;
      let deepest;
      for (const member of members) {
        try {
          return member.check(value, isText);
        } catch (misfit) {
          if (!(misfit instanceof Misfit)) throw misfit;
          if (misfit.path.length > (deepest?.path.length ?? 0)) deepest = misfit;
        }
      }
      throw markedMisfit(members, value) ?? deepest ?? new Misfit(expected, value);
    };
    const isObject = members.every((member) => member.isObject || member === PLAIN.null);
    const fields = members.flatMap((member) => member.fields ?? []);
    const hasFreeKeys = members.some((member) => member.hasFreeKeys);
    const schema = { anyOf: members.map((member) => member.schema) };
    return { check, schema, expected, isExact: isFalse, takesText, isObject, fields, hasFreeKeys };
  }
}

function isOfFew(type) {
  return type?.is === 'literal' || (type?.is === 'union' && type.of.every(isOfFew));
}

// What is wrong with the member of a union that a field of few values, such as `kind`, shows to be meant; or with that
// field. Undefined if no such field tells.
function markedMisfit(members, value) {
  if (!isRecord(value)) return undefined;
  const meant = new Set();
  const wrong = [];
  for (const member of members) {
    for (const [key, mark] of member.marks ?? []) {
      if (!Object.hasOwn(value, key)) continue;
      if (mark.isExact(value[key])) meant.add(member);
      else wrong.push([key, mark.expected]);
    }
  }
  if (meant.size === 1) {
    try {
      [...meant][0].check(value, false);
    } catch (misfit) {
      return misfit instanceof Misfit ? misfit : undefined;
    }
  }
  const keys = new Set(wrong.map(([key]) => key));
  if (meant.size > 0 || keys.size !== 1) return undefined;
  const [key] = keys;
  return new Misfit([...new Set(wrong.map(([, expected]) => expected))].join(' or '), value[key]).at(step(key));
}

function literals(values) {
  const all = values.map((one) => stringify(one)).join(', ');
  const expected = values.length === 1 ? all : `one of ${all}`;
  const check = (value, isText) => {
    if (values.includes(value)) return value;
    if (value instanceof LongNumber) return check(value.toJSON(), isText);
    const isWritten = (known) => String(known) === value || booleanOf(value, true) === known;
    const one = isText ? values.find(isWritten) : undefined;
    if (one === undefined) throw new Misfit(expected, value);
    return one;
  };
  const schema = values.length === 1 ? { const: values[0] } : { enum: values };
  return { check, schema, expected, isExact: (value) => values.includes(value) };
}

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof LongNumber);
}

// A name in a JSON pointer that is part of a URL.
function pointer(name) {
  return encodeURIComponent(name.replace(/~/g, '~0').replace(/\//g, '~1'));
}

function schemaOfObject(name, fields, known, rest) {
  const properties = {};
  for (const [key, { type }] of known) {
    const { description } = fields[key];
    put(properties, undefined, key, description ? { ...type.schema, description } : type.schema);
  }
  const required = [...known].filter(([, { isOptional }]) => !isOptional).map(([key]) => key);
  return {
    type: 'object',
    ...(name === undefined ? {} : { title: name }),
    ...(known.size > 0 ? { properties, required } : {}),
    ...(rest === undefined || rest.isAny ? {} : { additionalProperties: rest.schema }),
  };
}

// The object with another value under a key; a copy of it while it is still the caller's `original`.
function put(object, original, key, value) {
  if (original !== undefined && value === original[key]) return object;
  const changed = object === original ? { ...original } : object;
  // An assignment to `__proto__` would change the prototype.
  Object.defineProperty(changed, key, { value, writable: true, enumerable: true, configurable: true });
  return changed;
}

function eachItem(values, typeAt, isText) {
  let checked = values;
  for (let at = 0; at < values.length; at++) {
    const one = part(typeAt(at), values[at], `[${at}]`, isText);
    if (one === values[at]) continue;
    if (checked === values) checked = values.slice();
    checked[at] = one;
  }
  return checked;
}

function part(type, value, place, isText) {
  try {
    return type.check(value, isText);
  } catch (misfit) {
    throw misfit instanceof Misfit ? misfit.at(place) : misfit;
  }
}

function step(key) {
  return WORD.test(key) ? `.${key}` : `[${stringify(key)}]`;
}

function takesNothing(type) {
  return type === undefined || type.is === 'any' || type.is === 'undefined'
    || (type.is === 'union' && type.of.some(takesNothing));
}

// --- several signatures ----------------------------------------------------------------------------------------------

// What several declarations of one function say of its parameters, by their order.
function merged(all) {
  const longest = all.reduce((a, b) => (b.params.length > a.params.length ? b : a));
  const params = longest.params.map((param, at) => {
    const same = all.map((one) => one.params[at]);
    const optional = same.some((one) => one === undefined || one.optional);
    const isAny = same.some((one) => one !== undefined && one.type === undefined);
    return { ...param, optional, type: isAny ? undefined : oneOf(same.flatMap((one) => one?.type ?? [])) };
  });
  const { description } = all.find((one) => one.description) ?? {};
  return { params, returns: resultOf(all.flatMap(({ returns }) => returns ?? [])), description, inOrder: true };
}

// A description with the statuses that `@throws` and `@exception` declare, as lines of it: `@throws 404 no such order`.
function withStatuses(description, thrown) {
  const lines = thrown.map((words) => words.replace(/\s+/g, ' ').replace(/^\{([^}]*)\}/, '$1'));
  const statuses = lines.filter((words) => /^[45]\d\d\b/.test(words)).map((words) => `@throws ${words}`);
  return [description, ...statuses].filter(Boolean).join('\n') || undefined;
}

// Of several results, which are streams all or none.
function resultOf(types) {
  const streams = types.filter(({ is }) => is === 'stream');
  if (streams.length === 0) return oneOf(types);
  return streams.length < types.length ? { is: 'any' } : { is: 'stream', of: oneOf(streams.map(({ of }) => of)) };
}

function oneOf(types) {
  const all = new Map(types.map((type) => [stringify(type), type]));
  const of = [...all.values()].flatMap((type) => (type.is === 'union' ? type.of : [type]));
  if (of.some(({ is }) => is === 'any')) return { is: 'any' };
  return all.size <= 1 ? types[0] : { is: 'union', of };
}

// A type as it is written, for `inspect`.
function textOf(type) {
  return short(writtenType(type, 0), NAME_LENGTH);
}

function writtenType(type, depth) {
  const inner = (one) => (depth > 5 ? '…' : writtenType(one, depth + 1));
  const item = (one) => (one.is === 'union' ? `(${inner(one)})` : inner(one));
  switch (type?.is) {
    case undefined: return 'any';
    case 'literal': return stringify(type.value);
    case 'array': return `${item(type.of)}[]`;
    case 'set': return `Set<${inner(type.of)}>`;
    case 'stream': return `AsyncIterable<${inner(type.of)}>`;
    case 'map': return `Map<string, ${inner(type.of)}>`;
    case 'tuple': return `[${type.of.map(inner).join(', ')}]`;
    case 'union': return [...new Set(type.of.map(inner))].join(' | ');
    case 'ref': return type.name;
    case 'bytes': return 'Buffer';
    case 'object': break;
    default: return type.is;
  }
  if (type.name !== undefined) return type.name;
  const written = ([key, one]) => `${key}${one.optional ? '?' : ''}: ${inner(one.type)}`;
  const fields = Object.entries(type.fields).map(written);
  if (type.others !== undefined && fields.length === 0) return `Record<string, ${inner(type.others)}>`;
  return fields.length === 0 ? 'object' : `{ ${fields.join(', ')} }`;
}

module.exports = {
  Compiler, Misfit, found, merged, short, takesNothing, textOf, withLongNumbers, withoutLongNumbers, withStatuses,
  WORD,
};
