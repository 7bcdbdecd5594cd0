// Reads the declared types of functions that TypeScript scripts export, with the package `typescript` of the
// deployment. What types are is in node_types.js. The package takes a second and 100 MB: it runs in a process of its
// own, which is this file as a program, and what it finds is kept for the next worker in the deployment's own folder of
// temporary files.
'use strict';

const { execFileSync } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');
const { createRequire } = require('module');
const path = require('path');

const { merged } = require('./node_types.js');

const { parse, stringify } = JSON;

const PATIENCE_MS = 30_000;
const OUTPUT = 4 * 1024 * 1024; // bytes of what the program prints
const DEPTH = 12; // levels of a type
const FIELDS = 500; // fields of an object
const SIGNATURES = 20; // signatures of a function
const ANY = { is: 'any' };

// --- in the worker ---------------------------------------------------------------------------------------------------

// The declarations of some scripts: file → {name: declaration}. Empty if the deployment has no such package.
function readAll(files, folder) {
  const compiler = compilerOf(files[0], folder);
  if (compiler === undefined) return {};
  const kept = keptFile(compiler, files);
  const known = kept === undefined ? undefined : readKept(kept);
  if (known !== undefined) return known;
  const options = { encoding: 'utf8', timeout: PATIENCE_MS, maxBuffer: OUTPUT, stdio: ['ignore', 'pipe', 'pipe'] };
  const env = { ...process.env, NODE_OPTIONS: '' };
  const printed = execFileSync(process.execPath, [__filename, compiler, ...files], { ...options, env });
  const found = parse(printed);
  if (kept !== undefined) keep(kept, printed);
  return found.declarations;
}

// The deployment's own `typescript`, not one of the system.
function compilerOf(file, folder) {
  try {
    const found = createRequire(file).resolve('typescript');
    return found.startsWith(folder + path.sep) || fs.existsSync(path.join(folder, 'node_modules', 'typescript'))
      ? found : undefined;
  } catch {
    return undefined;
  }
}

// Without a folder of the deployment's own nothing is kept: others could write there.
function keptFile(compiler, files) {
  const temp = process.env.XDG_CACHE_HOME;
  if (!temp || temp !== process.env.TMPDIR) return undefined;
  const key = createHash('sha256').update(stringify([process.version, compiler, files, stampOf(__filename)]));
  return path.join(temp, `metagate-types-${key.digest('hex').slice(0, 16)}.json`);
}

function readKept(file) {
  try {
    const { stamps, declarations } = parse(fs.readFileSync(file, 'utf8'));
    return Object.entries(stamps).every(([source, stamp]) => stampOf(source) === stamp) ? declarations : undefined;
  } catch {
    return undefined;
  }
}

function keep(file, text) {
  try {
    fs.writeFileSync(`${file}.${process.pid}`, text);
    fs.renameSync(`${file}.${process.pid}`, file);
  } catch {
    // It is read again at the next start.
  }
}

// What changes when a file is written.
function stampOf(file) {
  const { mtimeMs, ctimeMs, size } = fs.statSync(file);
  return `${mtimeMs} ${ctimeMs} ${size}`;
}

// --- the program -----------------------------------------------------------------------------------------------------

function main([compiler, ...files]) {
  const ts = require(compiler);
  if (typeof ts.createProgram !== 'function') throw new Error(`typescript ${ts.version} has no createProgram`);
  const program = ts.createProgram(files, {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es2022.d.ts'],
    types: [],
  });
  const reader = new Reader(ts, program.getTypeChecker());
  const declarations = {};
  for (const file of files) declarations[file] = reader.exportsOf(program.getSourceFile(file));
  const sources = program.getSourceFiles().map(({ fileName }) => fileName);
  const own = sources.filter((file) => !file.startsWith(path.dirname(compiler)));
  const stamps = Object.fromEntries([compiler, ...own].map((file) => [file, stampOf(file)]));
  process.stdout.write(stringify({ stamps, declarations }));
}

// Types of the library by name. A typed array of bytes is text in base64, as in results.
const LIBRARY = { Date: 'Date', URL: 'URL', Buffer: 'bytes', Uint8Array: 'bytes', File: 'File', Blob: 'File' };

class Reader {
  constructor(ts, checker) {
    Object.assign(this, { ts, checker, open: new Set() });
  }

  // The declarations of what a script exports, and of the functions in the objects that it exports.
  exportsOf(source) {
    const found = {};
    const symbol = source && this.checker.getSymbolAtLocation(source);
    for (const one of symbol === undefined ? [] : this.checker.getExportsOfModule(symbol)) {
      const type = this.typeOfSymbol(one, source);
      const declaration = this.declarationOf(type, one, source);
      if (declaration !== undefined) found[one.name] = declaration;
      else if (type.flags & this.ts.TypeFlags.Object) this.addMethods(type, source, found);
    }
    return found;
  }

  addMethods(object, source, found) {
    for (const one of this.checker.getPropertiesOfType(object).slice(0, FIELDS)) {
      const declaration = this.declarationOf(this.typeOfSymbol(one, source), one, source);
      if (declaration !== undefined) found[one.name] ??= declaration;
    }
  }

  typeOfSymbol(symbol, source) {
    const { ts, checker } = this;
    const whole = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    return checker.getTypeOfSymbolAtLocation(whole, source);
  }

  // Of several signatures, what fits one of them; none if they are many, or if some take any number of arguments.
  declarationOf(type, symbol, source) {
    const signatures = type.getCallSignatures();
    if (signatures.length === 0 || signatures.length > SIGNATURES) return undefined;
    const all = signatures.map((signature) => this.signatureOf(signature, source));
    if (all.length === 1) return all[0];
    return all.some(({ params }) => params.some(({ rest }) => rest)) ? undefined : merged(all);
  }

  signatureOf(signature, source) {
    const about = this.ts.displayPartsToString(signature.getDocumentationComment(this.checker));
    return {
      params: signature.getParameters().map((one) => this.parameterOf(one, source)),
      returns: this.typeOf(this.awaited(signature.getReturnType()), 0),
      description: about || undefined,
    };
  }

  parameterOf(symbol, source) {
    const { ts, checker } = this;
    const node = symbol.valueDeclaration;
    const type = checker.getTypeOfSymbolAtLocation(symbol, node ?? source);
    const rest = node?.dotDotDotToken !== undefined;
    const optional = node?.questionToken !== undefined || node?.initializer !== undefined;
    const read = optional ? withoutNothing(this.typeOf(type, 0)) : this.typeOf(type, 0);
    const isPattern = node?.name !== undefined && !ts.isIdentifier(node.name);
    return {
      name: isPattern ? node.name.getText().replace(/\s+/g, ' ').slice(0, 60) : symbol.name,
      type: rest && read.is === 'array' ? read.of : read,
      optional,
      rest,
      description: ts.displayPartsToString(symbol.getDocumentationComment(checker)) || undefined,
    };
  }

  awaited(type) {
    const name = type.symbol?.name;
    const [inner] = name === 'Promise' || name === 'PromiseLike' ? this.checker.getTypeArguments(type) : [];
    return inner ?? type;
  }

  typeOf(type, depth) {
    const { TypeFlags: flags } = this.ts;
    const has = (flag) => (type.flags & flag) !== 0;
    if (depth > DEPTH) return ANY;
    if (has(flags.StringLiteral | flags.NumberLiteral)) return { is: 'literal', value: type.value };
    if (has(flags.BooleanLiteral)) return { is: 'literal', value: type.intrinsicName === 'true' };
    if (has(flags.Boolean)) return { is: 'boolean' };
    if (has(flags.String | flags.TemplateLiteral)) return { is: 'string' };
    if (has(flags.Number)) return { is: 'number' };
    if (has(flags.BigInt)) return { is: 'bigint' };
    if (has(flags.Null)) return { is: 'null' };
    if (has(flags.Undefined | flags.Void)) return { is: 'undefined' };
    if (has(flags.NonPrimitive)) return { is: 'object', fields: {} };
    if (type.isUnion()) return this.union(type, depth);
    if (type.isIntersection()) return this.intersection(type, depth);
    if (has(flags.TypeParameter)) {
      const constraint = this.checker.getBaseConstraintOfType(type);
      return constraint === undefined ? ANY : this.typeOf(constraint, depth + 1);
    }
    return has(flags.Object) ? this.object(type, depth) : ANY;
  }

  union(type, depth) {
    // The compiler has `null` and `undefined` first.
    const of = type.types.map((one) => this.typeOf(one, depth + 1)).sort((a, b) => isNothing(a) - isNothing(b));
    if (of.some(({ is }) => is === 'any')) return ANY;
    const isBoolean = (one) => one.is === 'literal' && typeof one.value === 'boolean';
    if (of.filter(isBoolean).length < 2) return { is: 'union', of };
    const others = of.filter((one) => !isBoolean(one));
    return others.length === 0 ? { is: 'boolean' } : { is: 'union', of: [...others, { is: 'boolean' }] };
  }

  // `{a: number} & {b: number}`, and `string & {brand: true}`, which is a string.
  intersection(type, depth) {
    const members = type.types.map((one) => this.typeOf(one, depth + 1));
    const plain = members.find(({ is }) => is !== 'object' && is !== 'any');
    if (plain !== undefined) return plain;
    return members.every(({ is }) => is === 'object') ? this.record(type, type.aliasSymbol?.name, depth) : ANY;
  }

  object(type, depth) {
    const { ts, checker } = this;
    const name = type.symbol?.name;
    const of = () => this.typeOf(checker.getTypeArguments(type)[0] ?? checker.getAnyType(), depth + 1);
    if (checker.isTupleType(type)) return this.tuple(type, depth);
    if (checker.isArrayType(type)) return { is: 'array', of: of() };
    if (type.getCallSignatures().length > 0) return ANY;
    if (this.isLibrary(type)) {
      if (Object.hasOwn(LIBRARY, name)) return { is: LIBRARY[name] };
      if (['Iterable', 'Iterator'].includes(name)) return { is: 'array', of: of() };
      if (['Set', 'ReadonlySet'].includes(name)) return { is: 'set', of: of() };
      if (['Map', 'ReadonlyMap'].includes(name)) {
        const [key, value] = checker.getTypeArguments(type);
        return this.typeOf(key, depth + 1).is === 'string' ? { is: 'map', of: this.typeOf(value, depth + 1) } : ANY;
      }
      // Others are made by their constructors; types such as Record and Partial have no symbol of the library.
      if (type.symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.Class)) return ANY;
    }
    if (type.symbol?.flags & ts.SymbolFlags.Class) return ANY;
    const alias = type.aliasSymbol?.name;
    const isNamed = alias !== undefined || (name !== undefined && !name.startsWith('__'));
    const full = isNamed ? checker.typeToString(type) : undefined;
    return this.record(type, full, depth);
  }

  isLibrary(type) {
    const source = type.symbol?.declarations?.[0]?.getSourceFile();
    return source !== undefined && /[\\/]typescript[\\/]lib[\\/]lib\.[^\\/]*\.d\.ts$/.test(source.fileName);
  }

  tuple(type, depth) {
    const { ElementFlags: flags } = this.ts;
    const items = this.checker.getTypeArguments(type).map((one) => this.typeOf(one, depth + 1));
    const kinds = type.target.elementFlags;
    if (kinds.some((kind, at) => kind & flags.Variable && at < kinds.length - 1)) return { is: 'array', of: ANY };
    const rest = kinds.length > 0 && kinds.at(-1) & flags.Variable ? items.pop() : undefined;
    return { is: 'tuple', of: items, least: kinds.filter((kind) => kind & flags.Required).length, rest };
  }

  record(type, name, depth) {
    const { ts, checker } = this;
    if (this.open.has(type)) return name === undefined ? ANY : { is: 'ref', name };
    this.open.add(type);
    const fields = Object.create(null);
    for (const one of checker.getPropertiesOfType(type).slice(0, FIELDS)) {
      const node = one.valueDeclaration ?? one.declarations?.[0];
      const of = node === undefined ? checker.getTypeOfSymbol(one) : checker.getTypeOfSymbolAtLocation(one, node);
      const optional = (one.flags & ts.SymbolFlags.Optional) !== 0;
      const description = ts.displayPartsToString(one.getDocumentationComment(checker)) || undefined;
      const read = this.typeOf(of, depth + 1);
      fields[one.name] = { type: optional ? withoutNothing(read) : read, optional, description };
    }
    const index = checker.getIndexInfosOfType(type)[0];
    this.open.delete(type);
    return { is: 'object', name, fields, others: index && this.typeOf(index.type, depth + 1) };
  }
}

function isNothing({ is }) {
  return is === 'null' || is === 'undefined';
}

// The type of what may be left out, when it is given.
function withoutNothing(type) {
  if (type.is !== 'union') return type;
  const of = type.of.filter(({ is }) => is !== 'undefined');
  return of.length === 1 ? of[0] : { is: 'union', of };
}

if (require.main === module) main(process.argv.slice(2));
else module.exports = { readAll };
