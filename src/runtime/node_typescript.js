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

const { merged, withStatuses } = require('./node_types.js');

const { parse, stringify } = JSON;

const PATIENCE_MS = 30_000;
const OUTPUT = 4 * 1024 * 1024; // bytes of what the program prints
const DEPTH = 12; // levels of a type
const FIELDS = 500; // fields of an object
const SIGNATURES = 20; // signatures of a function
const ANY = { is: 'any' };

// --- in the worker ---------------------------------------------------------------------------------------------------

// The `declarations` of some scripts, file → {name: declaration}, and the `unknown` names of types in them; `isUnread`
// if the deployment has no such package.
function readAll(files, folder) {
  const compiler = compilerOf(files[0], folder);
  if (compiler === undefined) return { declarations: {}, unknown: [], isUnread: true };
  const kept = keptFile(compiler, files);
  const known = kept === undefined ? undefined : readKept(kept);
  if (known !== undefined) return known;
  const options = { encoding: 'utf8', timeout: PATIENCE_MS, maxBuffer: OUTPUT, stdio: ['ignore', 'pipe', 'pipe'] };
  const env = { ...process.env, NODE_OPTIONS: '' };
  const printed = execFileSync(process.execPath, [__filename, compiler, ...files], { ...options, env });
  const found = parse(printed);
  if (kept !== undefined) keep(kept, printed);
  return found;
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
    const found = parse(fs.readFileSync(file, 'utf8'));
    return Object.entries(found.stamps).every(([source, stamp]) => stampOf(source) === stamp) ? found : undefined;
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

// What changes when a file is written; nothing of one that is not there.
function stampOf(file) {
  const { mtimeMs, ctimeMs, size } = fs.statSync(file, { throwIfNoEntry: false }) ?? {};
  return `${mtimeMs} ${ctimeMs} ${size}`;
}

// --- the program -----------------------------------------------------------------------------------------------------

function main([compiler, ...files]) {
  const ts = require(compiler);
  if (typeof ts.createProgram !== 'function') {
    throw new Error(`typescript ${ts.version} has no createProgram; npm install typescript@5`);
  }
  const configuration = ts.findConfigFile(path.dirname(files[0]), ts.sys.fileExists);
  const options = optionsOf(ts, files[0], configuration);
  const hasNode = nodeTypes(files[0]) !== undefined;
  const program = ts.createProgram(hasNode ? files : [...files, LACKING], options, hostOf(ts, options));
  const reader = new Reader(ts, program.getTypeChecker());
  const declarations = {};
  for (const file of files) declarations[file] = reader.exportsOf(program.getSourceFile(file));
  const sources = program.getSourceFiles().map(({ fileName }) => fileName);
  const own = sources.filter((file) => !file.startsWith(path.dirname(compiler)) && file !== LACKING);
  const besides = [configuration, nodeTypes(files[0])].filter((file) => file !== undefined);
  const stamps = Object.fromEntries([compiler, ...own, ...besides].map((file) => [file, stampOf(file)]));
  const missing = hasNode ? [] : [path.join(path.dirname(files[0]), 'node_modules', '@types', 'node', 'package.json')];
  for (const file of missing) stamps[file] = stampOf(file);
  process.stdout.write(stringify({ stamps, declarations, unknown: [...reader.unknown] }));
}

// How the compiler reads the scripts: by what their tsconfig.json says of names and of libraries, else as Node runs
// them. The module `metagate` is the worker's own.
function optionsOf(ts, file, configuration) {
  const { compilerOptions } = (configuration && ts.readConfigFile(configuration, ts.sys.readFile).config) ?? {};
  const folder = path.dirname(configuration ?? file);
  const { paths = {}, baseUrl = '.', types, typeRoots, lib } = compilerOptions ?? {};
  const libraries = Array.isArray(lib) ? lib : [];
  const absolute = (one) => path.resolve(folder, baseUrl, one);
  const known = Object.entries(paths).map(([name, places]) => [name, [places].flat().map(absolute)]);
  return {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    allowImportingTsExtensions: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es2022.d.ts', ...libraries.map((name) => `lib.${String(name).toLowerCase()}.d.ts`)],
    types: [...new Set([...(Array.isArray(types) ? types : []), ...(nodeTypes(file) === undefined ? [] : ['node'])])],
    ...(Array.isArray(typeRoots) ? { typeRoots: typeRoots.map((one) => path.resolve(folder, one)) } : {}),
    paths: { metagate: [path.join(__dirname, 'metagate.d.ts')], ...Object.fromEntries(known) },
  };
}

// The package.json of the types of Node, if the deployment has them.
function nodeTypes(file) {
  try {
    return createRequire(file).resolve('@types/node/package.json');
  } catch {
    return undefined;
  }
}

// The classes of Node that functions take and return, for deployments without the types of Node. They are declared so
// that the library for browsers adds to them, where a script refers to it.
const LACKING = path.join(__dirname, 'metagate-lacking.d.ts');
const LACKING_TEXT = `
interface Blob {
  readonly size: number; readonly type: string;
  arrayBuffer(): Promise<ArrayBuffer>; bytes(): Promise<Uint8Array>; text(): Promise<string>;
  slice(start?: number, end?: number, type?: string): Blob; stream(): ReadableStream<Uint8Array>;
}
interface File extends Blob { readonly name: string; readonly lastModified: number; }
interface URLSearchParams {
  get(name: string): string | null; getAll(name: string): string[]; has(name: string): boolean;
}
interface URL {
  href: string; protocol: string; username: string; password: string; host: string; hostname: string; port: string;
  pathname: string; search: string; hash: string; readonly origin: string; readonly searchParams: URLSearchParams;
  toJSON(): string; toString(): string;
}
interface Headers { get(name: string): string | null; has(name: string): boolean; getSetCookie(): string[]; }
interface AbortSignal { readonly aborted: boolean; readonly reason: any; throwIfAborted(): void; }
interface ReadableStream<R = any> { getReader(): any; [Symbol.asyncIterator](): AsyncIterableIterator<R>; }
interface Response {
  readonly status: number; readonly ok: boolean; readonly headers: Headers; readonly body: ReadableStream<any> | null;
  arrayBuffer(): Promise<ArrayBuffer>; json(): Promise<any>; text(): Promise<string>; blob(): Promise<Blob>;
}
interface Buffer extends Uint8Array { toString(encoding?: string, start?: number, end?: number): string; }
declare var Blob: { prototype: Blob; new (parts?: any[], options?: any): Blob };
declare var File: { prototype: File; new (parts: any[], name: string, options?: any): File };
declare var URLSearchParams: { prototype: URLSearchParams; new (init?: any): URLSearchParams };
declare var URL: { prototype: URL; new (url: string | URL, base?: string | URL): URL };
declare var Headers: { prototype: Headers; new (init?: any): Headers };
declare var Response: {
  prototype: Response; new (body?: any, init?: any): Response; json(data: any, init?: any): Response;
  redirect(url: string | URL, status?: number): Response; error(): Response;
};
declare var Buffer: {
  prototype: Buffer; from(value: any, encoding?: any, length?: number): Buffer;
  alloc(size: number, fill?: any, encoding?: string): Buffer; concat(list: readonly Uint8Array[]): Buffer;
  byteLength(text: any, encoding?: string): number; isBuffer(value: any): value is Buffer;
};
declare module 'buffer' {
  type OwnBuffer = globalThis.Buffer; const OwnBuffer: typeof globalThis.Buffer;
  type OwnFile = globalThis.File; const OwnFile: typeof globalThis.File;
  type OwnBlob = globalThis.Blob; const OwnBlob: typeof globalThis.Blob;
  export { OwnBuffer as Buffer, OwnFile as File, OwnBlob as Blob };
}
declare module 'url' {
  type OwnURL = globalThis.URL; const OwnURL: typeof globalThis.URL;
  export { OwnURL as URL };
}
declare module 'node:buffer' { export * from 'buffer'; }
declare module 'node:url' { export * from 'url'; }
`;

function hostOf(ts, options) {
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  return Object.assign(host, {
    fileExists: (file) => file === LACKING || fileExists.call(host, file),
    readFile: (file) => (file === LACKING ? LACKING_TEXT : readFile.call(host, file)),
    getSourceFile: (file, ...rest) => (file === LACKING
      ? ts.createSourceFile(file, LACKING_TEXT, ts.ScriptTarget.ES2022) : getSourceFile.call(host, file, ...rest)),
  });
}

// Types of the library by name. A typed array of bytes is text in base64, as in results.
const LIBRARY = { Date: 'Date', URL: 'URL', Buffer: 'bytes', Uint8Array: 'bytes', File: 'File', Blob: 'File' };
// What a function returns that gives its results one after another.
const STREAMS = new Set([
  'AsyncGenerator', 'AsyncIterable', 'AsyncIterableIterator', 'AsyncIterator', 'AsyncIteratorObject', 'Generator',
  'IterableIterator', 'Iterator', 'IteratorObject', 'ReadableStream',
]);
// Where libraries are declared.
const LIBRARIES = new RegExp([
  /[\\/]typescript[\\/]lib[\\/]lib\.[^\\/]*\.d\.ts$/,
  /[\\/]node_modules[\\/](?:@types[\\/]node|undici-types|buffer)[\\/][^]*\.d\.[mc]?ts$/,
  /[\\/]metagate-lacking\.d\.ts$/,
].map(({ source }) => source).join('|'));

class Reader {
  constructor(ts, checker) {
    // `unknown`: the names of types that are found nowhere.
    Object.assign(this, { ts, checker, open: new Set(), unknown: new Set() });
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
    const thrown = signature.getJsDocTags().filter(({ name }) => name === 'throws' || name === 'exception');
    return {
      params: signature.getParameters().map((one) => this.parameterOf(one, source)),
      returns: this.typeOf(this.awaited(signature.getReturnType()), 0),
      description: withStatuses(about, thrown.map(({ text }) => this.ts.displayPartsToString(text))),
    };
  }

  parameterOf(symbol, source) {
    const { ts, checker } = this;
    const node = symbol.valueDeclaration;
    const type = checker.getTypeOfSymbolAtLocation(symbol, node ?? source);
    const rest = node?.dotDotDotToken !== undefined;
    const optional = node?.questionToken !== undefined || node?.initializer !== undefined;
    this.noteUnknown(node?.type);
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

  // Notes the names in the type of a parameter that the compiler does not find.
  noteUnknown(node) {
    if (node === undefined) return;
    const { ts, checker } = this;
    if (ts.isTypeReferenceNode(node) && checker.getTypeFromTypeNode(node).intrinsicName === 'error') {
      this.unknown.add(node.typeName.getText());
    }
    ts.forEachChild(node, (child) => this.noteUnknown(child));
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
      if (name === 'Iterable') return { is: 'array', of: of() };
      if (STREAMS.has(name)) return { is: 'stream', of: of() };
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
    const declarations = type.symbol?.declarations ?? [];
    return declarations.some((one) => LIBRARIES.test(one.getSourceFile().fileName));
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
