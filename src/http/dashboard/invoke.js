// How a form calls a function: at its own address where the page may, else through the admin API, which makes the same
// call and answers with JSON.

import { ask } from './api.js';

/** Calls at an address of the page's own origin. */
function directly(address) {
  return async (headers, body) => {
    const got = await fetch(address, { method: 'POST', headers, body, credentials: 'omit' });
    return {
      status: got.status,
      headers: [...got.headers],
      body: await got.text(),
      id: got.headers.get('x-request-id') ?? '',
    };
  };
}

/** Calls through the admin API, whose address is not that of the functions. */
function throughApi(name, fn) {
  const path = ['', 'api', 'invoke', name, ...fn.split('/')].map(encodeURIComponent).join('/');
  return async (headers, body) => {
    const asked = { method: 'POST', headers: { 'content-type': 'application/json' } };
    const got = await (await ask(path, { ...asked, body: JSON.stringify({ headers, body }) })).json();
    const shown = got.encoding === 'base64' ? `base64: ${got.body}` : got.body;
    return { ...got, body: got.complete ? shown : `${shown}\n… (the rest is not shown)`, id: got.request_id };
  };
}

/** What calls a function: takes headers and a body, returns status, headers, body and request id. `reason`: why it may
 * not. */
export function callerOf({ prefix, suffix, version }, fn, callsHere, reason) {
  if (!callsHere) return { call: throughApi(suffix, fn), reason };
  const parts = ['', prefix, suffix, version, 'call', ...fn.split('/')];
  return { call: directly(parts.map(encodeURIComponent).join('/')) };
}
