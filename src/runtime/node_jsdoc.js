// Reads the types of Node functions from their JSDoc comments: `@param`, `@returns`, `@type` of a function, `@typedef`
// with `@property`, `@callback`; of several `@overload`, what fits one of them.
// node.js loads this module for scripts with such comments. What types are is in node_types.js. A type that cannot be
// read takes any value.
'use strict';

const fs = require('fs');
const path = require('path');

const { merged, withStatuses } = require('./node_types.js');

const FILES = 200; // files of one script that are searched
const FILE_SIZE = 1024 * 1024; // bytes of a file that is searched
const DEPTH = 40; // levels of a type
const OVERLOADS = 20; // comments of one function
const OCCURRENCES = 10_000; // places of the same text that are looked at
const SAME = 20; // places with the same text and name
const GIVEN = 8; // names that one assignment gives
const NAME_LENGTH = 200; // characters of a name and its assignment
const ANY = { is: 'any' };

// --- types -----------------------------------------------------------------------------------------------------------

const TOKEN = new RegExp([
  /\s*(?<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)/,
  /\s*(?<number>-?\d+(?:\.\d+)?)/,
  /\s*(?<word>[\p{ID_Start}$_][\p{ID_Continue}$]*(?:\.[\p{ID_Start}$_][\p{ID_Continue}$]*)*)/,
  /\s*(?<mark>=>|\.\.\.|\.<|[^\s])/,
].map(({ source }) => source).join('|'), 'uy');

const WORDS = {
  number: 'number', Number: 'number', float: 'number', double: 'number', int: 'integer', integer: 'integer',
  string: 'string', String: 'string', boolean: 'boolean', Boolean: 'boolean', bool: 'boolean', bigint: 'bigint',
  BigInt: 'bigint', null: 'null', undefined: 'undefined', void: 'undefined', Date: 'Date', URL: 'URL',
  Buffer: 'bytes', Uint8Array: 'bytes', File: 'File', Blob: 'File',
};
const LISTS = new Set(['Array', 'array', 'ReadonlyArray', 'Iterable', 'Set', 'ReadonlySet']);
const RECORDS = new Set(['Object', 'object', 'Record', 'Map', 'ReadonlyMap']);
const STREAMS = new Set([
  'AsyncGenerator', 'AsyncIterable', 'AsyncIterableIterator', 'AsyncIterator', 'Generator', 'IterableIterator',
  'Iterator', 'ReadableStream',
]);
const WRAPPERS = new Set(['Promise', 'PromiseLike', 'Readonly', 'Awaited']);

// Reads one type expression, as JSDoc and TypeScript write them.
class Reader {
  constructor(source, named) {
    this.tokens = [];
    this.named = named; // type by name → its definition
    this.at = 0;
    this.depth = 0;
    for (TOKEN.lastIndex = 0; TOKEN.lastIndex < source.length;) {
      const token = TOKEN.exec(source)?.groups;
      if (token === undefined) break;
      this.tokens.push(token);
    }
  }

  next(mark) {
    if (this.tokens[this.at]?.mark !== mark) return false;
    this.at += 1;
    return true;
  }

  expect(mark) {
    if (!this.next(mark)) throw new SyntaxError(`no ${mark}`);
  }

  // {type, optional, rest} of a whole expression.
  whole() {
    const rest = this.next('...');
    const type = this.type();
    const optional = this.next('=');
    if (this.at < this.tokens.length) throw new SyntaxError('more than a type');
    return { type, optional, rest };
  }

  // The parameters and the result of a function's type: `function(string, number=): string`, or
  // `(name: string, size?: number) => string`.
  signature() {
    const isClosure = this.tokens[this.at]?.word === 'function';
    if (isClosure) this.at += 1;
    const params = [];
    this.expect('(');
    while (!this.next(')')) {
      const rest = this.next('...');
      const { name, optional } = this.parameterName();
      const type = this.type();
      // `...number` has the type of each, `...numbers: number[]` that of all.
      const one = { type, rest: rest && name === undefined, optional: this.next('=') || optional };
      if (name !== 'this' && name !== 'new') params.push(one);
      if (!this.next(',') && this.tokens[this.at]?.mark !== ')') throw new SyntaxError('no )');
    }
    const hasResult = isClosure ? this.next(':') : this.next('=>');
    if (!isClosure && !hasResult) throw new SyntaxError('no =>');
    const returns = hasResult ? this.type() : undefined;
    if (this.at < this.tokens.length) throw new SyntaxError('more than a type');
    return { params, returns, inOrder: true };
  }

  // `name:` or `name?:` before the type of a parameter.
  parameterName() {
    const [{ word: name } = {}, first, second] = this.tokens.slice(this.at, this.at + 3);
    const optional = first?.mark === '?' && second?.mark === ':';
    if (name === undefined || !(optional || first?.mark === ':')) return { optional: false };
    this.at += optional ? 3 : 2;
    return { name, optional };
  }

  type() {
    this.depth += 1;
    if (this.depth > DEPTH) throw new SyntaxError('too deep');
    this.next('|');
    const members = [this.intersection()];
    while (this.next('|')) members.push(this.intersection());
    this.depth -= 1;
    return members.length === 1 ? members[0] : union(members);
  }

  intersection() {
    this.next('&');
    const members = [this.postfix()];
    while (this.next('&')) members.push(this.postfix());
    if (members.length === 1) return members[0];
    if (members.some((member) => member.is !== 'object')) return ANY;
    return { is: 'object', fields: Object.assign(Object.create(null), ...members.map((member) => member.fields)) };
  }

  postfix() {
    if (this.next('?')) return union([this.postfix(), { is: 'null' }]);
    if (this.next('!')) return this.postfix();
    let type = this.primary();
    for (;;) {
      if (this.next('[')) {
        if (this.next(']')) {
          type = { is: 'array', of: type };
        } else { // a type by its key in another
          this.type();
          this.expect(']');
          type = ANY;
        }
      } else if (this.next('?')) type = union([type, { is: 'null' }]);
      else if (!this.next('!')) return type;
    }
  }

  primary() {
    const { text, number, word, mark } = this.tokens[this.at++] ?? {};
    if (text !== undefined) return text[0] === '`' ? { is: 'string' } : { is: 'literal', value: unquoted(text) };
    if (number !== undefined) return { is: 'literal', value: Number(number) };
    if (word !== undefined) return this.word(word);
    switch (mark) {
      case '*': return ANY;
      case '{': return this.record();
      case '[': return this.tuple();
      case '(': return this.group();
      default: throw new SyntaxError(`${mark} is no type`);
    }
  }

  word(word) {
    if (word === 'true' || word === 'false') return { is: 'literal', value: word === 'true' };
    if (word === 'readonly') return this.postfix();
    if (['typeof', 'keyof', 'unique', 'infer', 'new', 'asserts'].includes(word)) {
      this.postfix();
      return ANY;
    }
    if (word === 'import' || word === 'function' || word === 'Function') {
      if (this.next('(')) this.skip(')');
      if (this.next('.')) this.at += 1;
      if (this.next(':')) this.type();
      return ANY;
    }
    const given = this.next('<') || this.next('.<') ? this.list('>') : [];
    if (STREAMS.has(word)) return { is: 'stream', of: given[0] ?? ANY };
    if (LISTS.has(word)) return { is: word.endsWith('Set') ? 'set' : 'array', of: given[0] ?? ANY };
    if (RECORDS.has(word)) {
      const others = given[1] ?? ANY;
      return word.endsWith('Map') ? { is: 'map', of: others } : { ...record(), others };
    }
    if (WRAPPERS.has(word)) return given[0] ?? ANY;
    if (Object.hasOwn(WORDS, word)) return { is: WORDS[word] };
    return this.named?.(word) ?? ANY;
  }

  list(end) {
    const types = [];
    while (!this.next(end)) {
      types.push(this.type());
      if (!this.next(',')) {
        this.expect(end);
        break;
      }
    }
    return types;
  }

  // `{a: number, b?: string}`, `{[key: string]: number}`.
  record() {
    const { fields } = record();
    let others;
    while (!this.next('}')) {
      let token = this.tokens[this.at++];
      if (token?.word === 'readonly' && this.tokens[this.at]?.mark !== ':') token = this.tokens[this.at++];
      if (token?.mark === '[') {
        this.skip(']');
        this.expect(':');
        others = this.type();
      } else {
        const key = token?.word ?? token?.number ?? (token?.text === undefined ? undefined : unquoted(token.text));
        if (key === undefined) throw new SyntaxError('no key');
        const optional = this.next('?');
        let type = ANY;
        if (this.next('(')) { // a method
          this.skip(')');
          if (this.next(':')) this.type();
        } else if (this.next(':')) type = this.type();
        fields[key] = { type, optional };
      }
      if (!this.next(',')) this.next(';');
    }
    return { is: 'object', fields, others };
  }

  tuple() {
    const of = [];
    let least = 0;
    let rest;
    while (!this.next(']')) {
      if (this.next('...')) {
        const all = this.type();
        rest = all.is === 'array' ? all.of : ANY;
      } else {
        if (this.tokens[this.at]?.word !== undefined && this.tokens[this.at + 1]?.mark === ':') this.at += 2;
        of.push(this.type());
        if (!this.next('?')) least = of.length;
      }
      this.next(',');
    }
    return { is: 'tuple', of, least, rest };
  }

  // A type in parentheses, or the parameters of a function type.
  group() {
    const start = this.at;
    this.skip(')');
    if (this.next('=>')) {
      this.type();
      return ANY;
    }
    this.at = start;
    const type = this.type();
    this.expect(')');
    return type;
  }

  // Goes behind the bracket that ends what has begun.
  skip(end) {
    for (let depth = 1; depth > 0; this.at += 1) {
      const mark = this.tokens[this.at];
      if (mark === undefined) throw new SyntaxError(`no ${end}`);
      if ('([{'.includes(mark.mark)) depth += 1;
      if (')]}'.includes(mark.mark)) depth -= 1;
    }
  }
}

const ESCAPED = /\\(?:u\{([0-9a-f]{1,6})\}|u([0-9a-f]{4})|x([0-9a-f]{2})|(\r\n|[^]))/gi;
const ESCAPES = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v', 0: '\0', '\n': '', '\r\n': '' };

// The value of a text in quotes, with the escapes of JavaScript.
function unquoted(text) {
  return text.slice(1, -1).replace(ESCAPED, (whole, long, four, two, plain) => {
    if (plain !== undefined) return ESCAPES[plain] ?? plain;
    const code = parseInt(long ?? four ?? two, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

function union(members) {
  const of = members.flatMap((member) => (member.is === 'union' ? member.of : [member]));
  return of.some((member) => member.is === 'any') ? ANY : { is: 'union', of };
}

function read(source, named) {
  try {
    return new Reader(source, named).whole();
  } catch {
    return { type: ANY, optional: false, rest: false };
  }
}

// --- comments --------------------------------------------------------------------------------------------------------

// The description and the tags of a comment: {tag, type, name, optional, default, description}.
function parse(comment) {
  const lines = comment.slice(3, -2).split('\n').map((line) => line.replace(/^\s*\* ?/, ''));
  const [description, ...tags] = lines.join('\n').split(/(?:^[ \t]*|[ \t]+)(?=@\p{ID_Start})/mu);
  return { description: description.trim(), tags: tags.map(parseTag) };
}

function parseTag(text) {
  const [, tag, rest] = /^@([\p{ID_Continue}]+)\s*([^]*)$/u.exec(text);
  const end = rest.startsWith('{') ? endOfBraces(rest) : 0;
  const type = end > 0 ? rest.slice(1, end - 1) : undefined;
  const behind = rest.slice(end).trimStart();
  if (/^returns?$/.test(tag)) return { tag: 'returns', type, description: behind.trim() };
  const [, bracket, plainName] = /^(?:\[([^]*?)\](?=\s|$)|([^\s[]+(?:\[\][^\s[]*)*))?/u.exec(behind);
  const [name = '', preset] = (bracket ?? plainName ?? '').split(/=([^]*)/);
  const description = behind.slice(bracket === undefined ? name.length : bracket.length + 2);
  return {
    tag: /^(?:arg|argument)$/.test(tag) ? 'param' : tag === 'prop' ? 'property' : tag,
    type,
    name: name.trim(),
    optional: bracket !== undefined,
    default: preset === undefined ? undefined : valueOf(preset.trim()),
    description: description.replace(/^\s*-?\s*/, '').trim(),
  };
}

function endOfBraces(text) {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '{') depth += 1;
    if (text[at] === '}') depth -= 1;
    if (depth === 0) return at + 1;
  }
  return 0;
}

function valueOf(text) {
  try {
    return JSON.parse(/^'[^'"\\]*'$/.test(text) ? `"${text.slice(1, -1)}"` : text);
  } catch {
    return undefined;
  }
}

// The values of `@param` tags, those of `order.items[].price` inside that of `order`.
function parametersIn(tags, named) {
  const roots = [];
  for (const tag of tags) {
    const steps = tag.name.split('.');
    if (steps.length === 1) roots.push(declared(tag, named));
    else insert(roots.find((root) => root.name === steps[0].replace('[]', '')), steps, declared(tag, named));
  }
  return roots;
}

function declared({ type, name, optional, default: preset, description }, named) {
  const whole = type === undefined ? {} : read(type, named);
  return {
    name,
    type: whole.type,
    rest: whole.rest === true,
    optional: optional || whole.optional === true,
    default: preset,
    description,
  };
}

// Puts a field into the type of its root, whose name is the first of the steps.
function insert(root, steps, field) {
  let place = root;
  for (const [i, step] of steps.slice(0, -1).entries()) {
    if (i > 0) place = place.type.fields[step.replace('[]', '')];
    if (place === undefined) return;
    if (step.endsWith('[]') || place.type?.is === 'array') {
      if (place.type?.of?.is !== 'object') place.type = { is: 'array', of: record() };
      place = { type: place.type.of };
    } else if (place.type?.is !== 'object') place.type = record();
  }
  place.type.fields[steps.at(-1)] = field;
  delete place.type.others;
}

// A type with fields, whose names may be any: an object of JavaScript's own would have some already.
function record() {
  return { is: 'object', fields: Object.create(null) };
}

// --- scripts ---------------------------------------------------------------------------------------------------------

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])(\.[^'"\n]*)\1/g;
// What may stand between a comment and the text of its function.
const LEAD = /^\s*(?:(?:export|default|const|let|var|static|async)\s+|[\p{ID_Continue}$.[\]'"]+\s*[:=]\s*)*\(*\s*$/u;
// What may follow the text of an arrow function: anything else continues it.
const BEHIND = /^[^\S\n\r]*(?:$|[;,)}\]\n\r]|\/[/*])/;
// The name in the text of a function or a method.
const DECLARED = /^(?:async\b\s*)?(?:function\b\s*)?\*?\s*(?<name>[\p{ID_Start}$_][\p{ID_Continue}$]*)\s*\(/u;
const NAME_PART = /[\p{ID_Continue}$]/u;
const SPACE = /\s/;
const NAMED = /@(?:typedef|property|prop|callback)\b/;
const OVERLOAD = /@overload\b/;

// The text of a script and of the scripts that it imports by relative paths, with the types that each names.
function sourcesOf(script) {
  const texts = new Map();
  const files = [script];
  for (const file of files) {
    if (texts.has(file) || texts.size >= FILES) continue;
    const text = readText(file);
    texts.set(file, text);
    for (const [, , relative] of text.matchAll(IMPORT)) {
      const found = path.resolve(path.dirname(file), relative);
      const names = [found, `${found}.js`, `${found}.cjs`, path.join(found, 'index.js')];
      const one = names.find((name) => fs.statSync(name, { throwIfNoEntry: false })?.isFile());
      if (one !== undefined && !one.includes(`${path.sep}node_modules${path.sep}`)) files.push(one);
    }
  }
  return [...texts.values()].filter((text) => text !== '').map((text) => ({ text, named: namesIn(text) }));
}

function readText(file) {
  try {
    return fs.statSync(file).size <= FILE_SIZE ? fs.readFileSync(file, 'utf8') : '';
  } catch {
    return '';
  }
}

// A function from the name of a `@typedef` to its type.
function namesIn(text) {
  const known = new Map();
  const callbacks = new Map();
  const open = new Set();
  if (NAMED.test(text)) {
    for (const [comment] of text.matchAll(/\/\*\*[^]*?\*\//g)) {
      const { tags } = parse(comment);
      for (const tag of tags) {
        if (tag.tag === 'typedef') known.set(tag.name, { tag, tags });
        if (tag.tag === 'callback') callbacks.set(tag.name, tags);
      }
    }
  }
  // What a type of a function says, by its name or as it is written.
  named.functionOf = (text) => {
    const tags = callbacks.get(text.trim());
    if (tags !== undefined) return { ...declaredBy(tags, named), inOrder: true };
    return signatureIn(known.get(text.trim())?.tag.type ?? text, named);
  };
  return named;

  function named(name) {
    const definition = known.get(name);
    if (definition === undefined) return undefined;
    if (open.has(name)) return { is: 'ref', name };
    open.add(name);
    const { tag, tags } = definition;
    const root = { type: tag.type === undefined ? record() : read(tag.type, named).type };
    for (const one of tags.filter((each) => each.tag === 'property')) {
      insert(root, ['', ...one.name.split('.')], declared(one, named));
    }
    open.delete(name);
    return root.type.is === 'object' ? { ...root.type, name } : root.type;
  }
}

function signatureIn(source, named) {
  try {
    return new Reader(source, named).signature();
  } catch {
    return undefined;
  }
}

// A function that finds the declaration of an exported function of a script by the name of the export, its source, and
// the name that the function itself has.
function declarationsOf(script) {
  const sources = sourcesOf(script);
  const known = new Map(); // the places of a source
  return (name, source, ownName) => {
    if (!known.has(source)) known.set(source, placesOf(source, sources));
    const places = placesNamed(known.get(source), name, source, ownName);
    if (places.length > SAME) return undefined;
    const [first, ...others] = places.map(({ text, at, named }) => ({ comments: commentsBefore(text, at), named }));
    // Of places that say different things it is not known which one is meant.
    const isSame = ({ comments, named }) => named === first.named && String(comments) === String(first.comments);
    if (first?.comments === undefined || !others.every(isSame)) return undefined;
    return declarationIn(first.comments, first.named);
  };
}

// The places where the text of a function stands as a whole: {text, at, named, given}, with the names that it is given
// there.
function placesOf(source, sources) {
  const places = [];
  for (const { text, named } of sources) {
    for (let at = text.indexOf(source); at !== -1 && places.length < OCCURRENCES; at = text.indexOf(source, at + 1)) {
      if (isWhole(text, at, source)) places.push({ text, at, named, given: givenBefore(text, at) });
    }
  }
  return places;
}

// The places that a function may be from: those that give it the name that it has, if some do; those of its
// declaration, if it has its name from there; those that give it the name of the export; those that give it none.
function placesNamed(places, name, source, ownName) {
  const giving = (wanted) => places.filter(({ given }) => given.includes(wanted));
  const isDeclared = ownName !== '' && DECLARED.exec(source)?.groups.name === ownName;
  const groups = [
    () => (ownName === '' || isDeclared ? [] : giving(ownName)),
    () => (isDeclared ? places : []),
    () => giving(name),
    // Were there more places than are looked at, one that gives the name may be among those.
    () => (places.length < OCCURRENCES ? places.filter(({ given }) => given.length === 0) : []),
  ];
  for (const group of groups) {
    const found = group();
    if (found.length > 0) return found;
  }
  return [];
}

// Whether the text of a function at a place is not the start or the end of a longer one.
function isWhole(text, at, source) {
  const before = text.slice(Math.max(0, at - 10), at);
  if (/[\p{ID_Continue}$#]$/u.test(before) || (!source.startsWith('async') && /\basync\s+$/.test(before))) return false;
  return source.endsWith('}') || BEHIND.test(text.slice(at + source.length, at + source.length + NAME_LENGTH));
}

// The names that assignments before a place give: `a` and `b` of `exports.a = exports.b =`, `a` of `'a':`; none of
// `module.exports =`.
function givenBefore(text, end) {
  const given = [];
  const start = Math.max(0, end - NAME_LENGTH);
  let at = end;
  const back = (isSkipped) => {
    while (at > start && isSkipped(text[at - 1])) at -= 1;
  };
  while (given.length < GIVEN) {
    back((one) => SPACE.test(one) || (given.length === 0 && one === '('));
    if (!':='.includes(text[at - 1] || ' ') || '=!<>'.includes(text[at - 2])) break;
    at -= 1;
    back((one) => SPACE.test(one));
    const isComputed = text[at - 1] === ']';
    if (isComputed) at -= 1;
    const quote = text[at - 1];
    const last = at;
    if (quote === "'" || quote === '"') {
      at -= 1;
      back((one) => one !== quote);
      given.push(text.slice(at, last - 1));
      at -= 1;
    } else {
      back((one) => NAME_PART.test(one));
      if (isComputed || at === last) break; // by a variable, or none
      given.push(text.slice(at, last));
    }
    back((one) => NAME_PART.test(one) || '.['.includes(one)); // the object that has the name
  }
  return given.filter((one) => one !== 'exports');
}

// The comments that end before a function, the nearest first. Only those of overloads may be more than one.
function commentsBefore(text, at) {
  const end = text.lastIndexOf('*/', at);
  const nearest = commentThatEnds(text, end);
  if (nearest === undefined) return undefined;
  const lead = text.slice(end + 2, at);
  if (lead.length > 300 || !LEAD.test(lead)) return undefined;
  const comments = [nearest];
  for (let from = end + 2 - nearest.length; comments.length <= OVERLOADS;) {
    const before = text.slice(0, from).trimEnd();
    const one = before.endsWith('*/') ? commentThatEnds(text, before.length - 2) : undefined;
    if (one === undefined || !OVERLOAD.test(one)) break;
    comments.push(one);
    from = before.length - one.length;
  }
  return comments;
}

// The comment of JSDoc whose last two characters are at `end`.
function commentThatEnds(text, end) {
  const start = end === -1 ? -1 : text.lastIndexOf('/*', end - 1);
  return start === -1 || text[start + 2] !== '*' ? undefined : text.slice(start, end + 2);
}

function declarationIn(comments, named) {
  const parsed = comments.map(parse);
  const overloads = [...parsed].reverse().flatMap((one) => overloadsIn(one, named));
  const isMerged = overloads.length > 0 && !overloads.some(({ params }) => params.some(({ rest }) => rest));
  if (isMerged) return merged(overloads);
  const { description, tags } = parsed[0];
  if (overloads.length > 0 && tags.some(isOverload)) return { params: [], description: overloads[0].description };
  const own = declaredBy(tags, named);
  const type = tags.find(({ tag }) => tag === 'type')?.type;
  const isOwn = own.params.length > 0 || own.returns !== undefined || type === undefined;
  const { params, returns, inOrder } = isOwn ? own : named.functionOf(type) ?? own;
  const text = description || tags.find(({ tag }) => tag === 'description')?.description;
  const about = withStatuses(text, thrownIn(tags));
  if (params.length === 0 && returns === undefined && !about) return undefined;
  return { params, returns, description: about, inOrder };
}

// What `@throws` says.
function thrownIn(tags) {
  const thrown = tags.filter(({ tag }) => tag === 'throws' || tag === 'exception');
  return thrown.map(({ type, name, description }) => [type, name, description].filter(Boolean).join(' '));
}

function isOverload({ tag }) {
  return tag === 'overload';
}

// What a comment says of each `@overload` in it. The tags that follow one belong to it.
function overloadsIn({ description, tags }, named) {
  const starts = tags.flatMap((one, at) => (isOverload(one) ? [at] : []));
  return starts.map((start, i) => {
    const own = declaredBy(tags.slice(start + 1, starts[i + 1]), named);
    return { ...own, description: description || undefined };
  });
}

// What `@param`, `@returns` and `@yields` say.
function declaredBy(tags, named) {
  const params = parametersIn(tags.filter(({ tag }) => tag === 'param'), named);
  const typeIn = (...names) => {
    const text = tags.find(({ tag, type }) => names.includes(tag) && type !== undefined)?.type;
    return text === undefined ? undefined : read(text, named).type;
  };
  const yielded = typeIn('yields', 'yield');
  return { params, returns: yielded === undefined ? typeIn('returns') : { is: 'stream', of: yielded } };
}

module.exports = { declarationsOf };
