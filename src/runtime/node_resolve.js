// Makes `metagate` a module that scripts can require and import, although it is in no node_modules. A project's own
// package of that name comes first. node.js loads this when a script asks for the module, or imports other scripts.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const { pathToFileURL } = require('url');

const NAME = 'metagate';
const FILE = path.join(__dirname, 'node_metagate.js');
const URL = pathToFileURL(FILE).href;
const NOT_FOUND = ['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'];
const FILES = 500; // scripts that are looked at
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])(\.[^'"\n]*)\1/g;
const ENDINGS = ['', '.js', '.mjs', '.cjs', '.ts', '.mts', '.cts', '/index.js', '/index.mjs', '/index.ts'];
// Names of scripts that are written in TypeScript and imported as what they are compiled to.
const COMPILED = /\.([cm]?)js$/;

// What another thread runs in a Node that has no `registerHooks`.
const HOOKS = `
  export async function resolve(specifier, context, next) {
    if (specifier !== ${JSON.stringify(NAME)}) return next(specifier, context);
    try {
      return await next(specifier, context);
    } catch (error) {
      if (!${JSON.stringify(NOT_FOUND)}.includes(error?.code)) throw error;
      return { url: ${JSON.stringify(URL)}, format: 'commonjs', shortCircuit: true };
    }
  }`;

// The file of the module for `require`: what `find` finds, else ours.
function resolveRequire(find) {
  try {
    return find();
  } catch (error) {
    if (!NOT_FOUND.includes(error?.code)) throw error;
    return FILE;
  }
}

// Lets `import` find the module.
function provideImport() {
  if (Module.registerHooks === undefined) {
    Module.register?.(`data:text/javascript,${encodeURIComponent(HOOKS)}`);
    return;
  }
  Module.registerHooks({
    resolve(specifier, context, next) {
      if (specifier !== NAME) return next(specifier, context);
      try {
        return next(specifier, context);
      } catch (error) {
        if (!NOT_FOUND.includes(error?.code)) throw error;
        return { url: URL, format: 'commonjs', shortCircuit: true };
      }
    },
  });
}

// The texts of scripts, and of those that they import by relative paths, that have the name of the module.
function naming(scripts, readText) {
  const files = new Set(scripts);
  const found = [];
  for (const file of files) {
    const text = readText(file);
    if (text.includes(NAME)) found.push(text);
    for (const [, , relative] of text.matchAll(IMPORT)) {
      const one = files.size < FILES ? fileOf(path.resolve(path.dirname(file), relative)) : undefined;
      if (one !== undefined && !one.includes(`${path.sep}node_modules${path.sep}`)) files.add(one);
    }
  }
  return found;
}

function fileOf(place) {
  const names = [...ENDINGS.map((ending) => place + ending), place.replace(COMPILED, '.$1ts')];
  return names.find((name) => fs.statSync(name, { throwIfNoEntry: false })?.isFile());
}

// Whether one of the texts imports the module, in any form.
function imports(texts) {
  return texts.some((text) => /['"`]metagate['"`]/.test(text));
}

module.exports = { resolveRequire, provideImport, naming, imports };
