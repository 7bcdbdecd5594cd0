// The form that calls a function: a field for each parameter, headers, and the answer.

import { linkOf } from './calls.js';
import { button, element, notice } from './dom.js';
import { milliseconds } from './format.js';
import { isGiven, memberOf } from './values.js';

function signature({ name, schema }) {
  const kind = (of) => (typeof of?.type === 'string' ? of.type : 'any');
  const parameters = schema.parameters.map((one) => `${one.name}${one.required ? '' : '?'}: ${kind(one.schema)}`);
  return `${name}(${parameters.join(', ')}) → ${kind(schema.returns)}`;
}

function placeholder(schema) {
  return (
    { string: 'text', integer: '0', number: '0.0', boolean: 'true', array: '[]', object: '{}' }[schema?.type] ??
    'JSON'
  );
}

/** A function with its form. `call`: what calls it; `reason`: why it may not be called. */
export function functionForm(fn, { call: send, reason }) {
  const fields = fn.schema.parameters.map((parameter) => ({
    parameter,
    input: element('input', { placeholder: placeholder(parameter.schema), autocomplete: 'off' }),
  }));
  const headers = element('textarea', { placeholder: 'x-tenant: blue', spellcheck: 'false' });
  const answer = element('div', { class: 'answer', role: 'status' });
  const call = button('Call', () => run(), { kind: 'main', label: `Call ${fn.name}`, reason });

  async function run() {
    call.disabled = true;
    answer.replaceChildren(element('span', { class: 'quiet' }, 'calling …'));
    try {
      // Each schema has the definitions that it refers to.
      const members = fields
        .filter(({ parameter, input }) => isGiven(parameter.schema, parameter, input.value))
        .map(({ parameter, input }) => memberOf(parameter.schema, parameter, input.value));
      const own = headers.value
        .split('\n')
        .filter((line) => line.trim())
        .map((line) => {
          const at = line.indexOf(':');
          if (at < 1) throw new Error(`a header is "name: value", not "${line}"`);
          return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
        });
      const begun = performance.now();
      const hasType = own.some(([name]) => name.toLowerCase() === 'content-type');
      const type = hasType ? [] : [['content-type', 'application/json']];
      const { status, headers: answered, body, id } = await send([...type, ...own], `{${members.join(',')}}`);
      const lasted = performance.now() - begun;
      const all = answered.map(([name, value]) => `${name}: ${value}`).join('\n');
      answer.replaceChildren(
        element(
          'p',
          {},
          element('strong', { class: status < 400 ? 'ready' : 'bad' }, String(status)),
          ` in ${milliseconds(lasted)}, request `,
          element('code', {}, id),
          ' ',
          element('a', { href: linkOf(id) }, 'Timeline'),
        ),
        element('pre', { tabindex: '0', 'aria-label': 'Body of the answer' }, body),
        element(
          'details',
          {},
          element('summary', {}, 'Headers of the answer'),
          element('div', {}, element('pre', { tabindex: '0' }, all)),
        ),
      );
    } catch (error) {
      answer.replaceChildren(notice(error.message));
    }
    call.disabled = false;
  }

  const inputs = fields.map(({ parameter, input }) =>
    element(
      'label',
      { class: 'field' },
      element('span', {}, `${parameter.name}${parameter.required ? '' : ' (optional)'}`),
      input,
    ),
  );
  return element(
    'details',
    { 'data-function': fn.name },
    element('summary', {}, element('code', {}, signature(fn))),
    element(
      'div',
      {},
      element('p', { class: 'quiet' }, fn.schema.description ?? ''),
      inputs,
      element('label', { class: 'field' }, element('span', {}, 'Headers, one a line'), headers),
      call,
      reason ? element('p', { class: 'quiet' }, reason) : null,
      answer,
    ),
  );
}
