// How declared types check the arguments of a Node function: what a script's declarations say of a function becomes the
// check of its arguments and its schema, once, when the script is loaded. node.js loads this module for functions that
// declare something. python_binding.py is its counterpart: the same messages, the same schemas.
//
// A declaration is `{params: [{name, type, optional, rest, default, description}], returns, description, inOrder}`; the
// last says that the parameters are those in its place, whatever their names.
'use strict';

const {
  Compiler, Misfit, WORD, found, short, takesNothing, textOf, withLongNumbers, withoutLongNumbers,
} = require('./node_types.js');

const { stringify } = JSON;

const MESSAGE_LENGTH = 500; // characters of a message, and of the place that it names
const SCHEMA_LENGTH = 8_192; // characters of the JSON Schemas of a function
const DESCRIPTION_LENGTH = 8_192; // characters of the description of a function
const LEFT_OUT = { $comment: 'left out: the schemas of the function are too long' }; // the gateway knows it

// Arguments that do not fit the function, which was not run.
class BadArgument {
  constructor(message, argument, path, expected) {
    const cut = (text) => (text === undefined ? undefined : short(text, MESSAGE_LENGTH));
    Object.assign(this, { message: cut(message), argument: cut(argument), path: cut(path), expected: cut(expected) });
  }

  // The protocol's error.
  describe() {
    return { name: 'BadArgument', kind: 'argument', ...this };
  }
}

// What is known of a function: `check(args, isNamed, isText)`, which returns the arguments to pass or throws a
// BadArgument, or undefined if it takes anything; whether that `needsDigits`; whether the function `takesObject` for
// its only parameter, and that one `hasOwnName`, a field of the parameter's name, or `hasFreeKeys`; its `schema`, and
// `texts` and `result`, the types as they are written, for the metadata. Destructured parameters get the names of their
// declarations.
function prepare({ params, returns, description, inOrder }, parameters, signature, isGenerator) {
  const compiler = new Compiler();
  const declared = matched(params, parameters, inOrder === true);
  const types = declared.map((one) => compiler.whole(one?.type));
  const [only] = parameters;
  // The gateway describes such an object by the fields that its pattern takes, whatever name a comment gives it.
  const isItself = parameters.length === 1 && only.isPattern && !only.isRest && types[0].schema.type === 'object';
  const pattern = isItself ? only.name : undefined;
  for (const [at, one] of parameters.entries()) {
    const name = one.isPattern ? declared[at]?.name : undefined;
    if (name !== undefined && WORD.test(name)) Object.assign(one, { name, isNamed: true });
  }
  const isOptional = parameters.map((one, at) => one.isOptional || one.isRest || !declared[at]
    || declared[at].optional === true || takesNothing(declared[at].type));
  const results = resultsOf(returns, isGenerator);
  const listed = parameters.map((one, at) => ({
    name: pattern ?? one.name,
    kind: one.isRest ? 'rest' : 'positional',
    required: !isOptional[at],
    schema: schemaOf(types[at], declared[at], one.preset),
  }));
  const about = description ? { description: short(description, DESCRIPTION_LENGTH) } : {};
  const schema = { ...bounded({ parameters: listed, ...results }), ...about };
  const isTyped = types.some((type) => !type.isAny);
  const names = parameters.map(({ name }) => name);
  const check = isTyped ? checkOf(parameters, types, isOptional, names, signature) : undefined;
  const takesObject = parameters.length === 1 && !only.isRest && types[0].isObject === true;
  const hasOwnName = takesObject && types[0].fields.includes(only.name);
  const hasFreeKeys = !takesObject || types[0].hasFreeKeys;
  const { needsDigits } = compiler;
  const texts = declared.map((one) => (one?.type === undefined ? '' : textOf(one.type)));
  const written = { texts, result: returns === undefined ? '' : textOf(returns) };
  return { check, needsDigits, takesObject, hasOwnName, hasFreeKeys, schema, ...written };
}

// What a declared result says: `returns`, and `items` if it is a stream. A generator may be declared as any `Iterable`.
function resultsOf(type, isGenerator) {
  const compiler = new Compiler(true);
  if (type?.is === 'stream' || isGenerator) {
    const isKnown = type?.is === 'stream' || type?.is === 'array';
    return { returns: {}, items: isKnown ? compiler.whole(type.of).schema : {} };
  }
  return { returns: compiler.whole(type).schema };
}

// The declaration of each parameter: the one with its name; for a destructured one, the one in its place.
function matched(params, parameters, inOrder) {
  return parameters.map((one, at) => {
    const declared = inOrder || one.isPattern ? params[at] : params.find(({ name }) => name === one.name);
    if (declared === undefined || !one.isRest || declared.rest) return declared;
    // `@param {number} numbers` of `...numbers` is the type of each.
    return declared.type?.is === 'array' ? { ...declared, type: declared.type.of } : declared;
  });
}

// `preset`: the default of the parameter, which counts if callers may send it as well.
function schemaOf(type, declared, preset) {
  const details = {};
  if (declared?.description) details.description = declared.description;
  const known = declared?.default ?? (preset !== undefined && fits(type, preset) ? preset : undefined);
  if (known !== undefined) details.default = known;
  return { ...type.schema, ...details };
}

function fits(type, value) {
  try {
    type.check(value, false);
    return true;
  } catch {
    return false;
  }
}

// The longest schemas are left out if all are too long together. Arguments are checked all the same.
function bounded({ parameters, ...results }) {
  const names = Object.keys(results);
  const kept = [...parameters.map(({ schema }) => schema), ...names.map((name) => results[name])];
  const lengths = kept.map((schema) => stringify(schema).length);
  for (let all = lengths.reduce((sum, one) => sum + one, 0); all > SCHEMA_LENGTH;) {
    const longest = lengths.indexOf(Math.max(...lengths));
    all -= lengths[longest];
    lengths[longest] = 0;
    kept[longest] = LEFT_OUT;
  }
  const of = names.map((name, at) => [name, kept[parameters.length + at]]);
  return { parameters: parameters.map((one, at) => ({ ...one, schema: kept[at] })), ...Object.fromEntries(of) };
}

function checkOf(parameters, types, isOptional, names, signature) {
  return (args, isNamed, isText) => {
    let checked = args;
    for (let at = 0; at < parameters.length; at++) {
      if (parameters[at].isRest) return checkRest(types[at], names[at], checked, args, at, isNamed, isText);
      const value = args[at];
      if (value === undefined) {
        if (isOptional[at]) continue;
        throw new BadArgument(`argument ${stringify(names[at])} is missing: ${signature}`, names[at]);
      }
      if (types[at].isAny) continue;
      const one = convert(types[at], value, names[at], isNamed ? undefined : at, isText);
      if (one === value) continue;
      if (checked === args) checked = args.slice();
      checked[at] = one;
    }
    return checked;
  };
}

function checkRest(type, name, checked, args, from, isNamed, isText) {
  if (type.isAny || args.length <= from) return checked;
  const rest = args.slice(from).map((value, i) => {
    const [at, path] = isNamed ? [undefined, `[${i}]`] : [from + i, ''];
    return convert(type, value, name, at, isText, path);
  });
  return [...checked.slice(0, from), ...rest];
}

function convert(type, value, name, at, isText, path = '') {
  try {
    return type.check(value, isText);
  } catch (misfit) {
    if (!(misfit instanceof Misfit)) throw misfit;
    const place = at === undefined ? `argument ${stringify(name)}` : `argument ${at + 1} (${name})`;
    const whole = path + misfit.path;
    const what = misfit.message ?? `expected ${misfit.expected}, found ${found(misfit.value)}`;
    throw new BadArgument(`${place}${whole === '' ? '' : `, at ${whole}`}: ${what}`, name, whole, misfit.expected);
  }
}

module.exports = { prepare, withLongNumbers, withoutLongNumbers };
