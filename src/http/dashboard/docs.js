// The page that describes functions: it reads the OpenAPI document next to it, lists the operations, and calls them
// from a form.

import { forgetToken, heldToken, read, useToken } from './api.js';
import { button, element, notice } from './dom.js';
import { inputsOf, request, resolved } from './values.js';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
const main = document.getElementById('main');

/** A schema in a few words. */
function words(all, schema, depth = 0) {
  if (schema?.$ref !== undefined && depth > 0) return schema.$ref.replace(/.*\//, '');
  const { type, enum: values, anyOf, items, const: only } = resolved(all, schema);
  if (only !== undefined) return JSON.stringify(only);
  if (values !== undefined) return values.map((value) => JSON.stringify(value)).join(' | ');
  if (anyOf !== undefined && depth < 4) return anyOf.map((one) => words(all, one, depth + 1)).join(' | ');
  if (type === 'array' && items !== undefined && depth < 4) return `array of ${words(all, items, depth + 1)}`;
  return [type ?? 'any'].flat().join(' | ');
}

function inputFor(all, field) {
  if (field.files) return element('input', { type: 'file', multiple: field.files === 'many' });
  const { enum: values } = resolved(all, field.schema);
  if (values === undefined) return element('input', { placeholder: words(all, field.schema), autocomplete: 'off' });
  const options = values.map((value) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return element('option', { value: text }, text);
  });
  return element('select', {}, field.required ? null : element('option', { value: '' }, ''), options);
}

function operationForm(all, path, method, operation, authorized) {
  const { fields: described, kind } = inputsOf(all, operation);
  const fields = described.map((field) => ({ field, input: inputFor(all, field) }));
  const answer = element('div', { class: 'answer', role: 'status' });
  const name = `${method.toUpperCase()} ${path}`;
  const call = button('Call', () => run(), { kind: 'main', label: `Call ${name}` });

  async function run() {
    call.disabled = true;
    answer.replaceChildren(element('span', { class: 'quiet' }, 'calling …'));
    try {
      const values = fields.map(({ field, input }) => ({ field, text: input.value, files: input.files }));
      const { address, body, headers } = request(all, path, kind, values);
      const got = await fetch(address, {
        method: method.toUpperCase(),
        headers: { ...authorized(operation), ...headers },
        body,
        credentials: 'omit',
      });
      const type = got.headers.get('content-type') ?? '';
      answer.replaceChildren(
        element('p', {}, element('strong', { class: got.ok ? 'ready' : 'bad' }, String(got.status)), ` ${type}`),
        element('pre', { tabindex: '0', 'aria-label': 'Body of the answer' }, await got.text()),
      );
    } catch (error) {
      answer.replaceChildren(notice(error.message));
    }
    call.disabled = false;
  }

  const labels = fields.map(({ field, input }) => {
    const title = `${field.name}${field.required ? '' : ' (optional)'}`;
    const { description } = field.schema;
    const more = description ? element('span', { class: 'quiet' }, description) : null;
    return element('label', { class: 'field' }, element('span', {}, title), input, more);
  });
  const responses = Object.entries(operation.responses ?? {}).map(([status, response]) =>
    element('li', {}, element('code', {}, status), ` ${resolved(all, response).description ?? ''}`),
  );
  return element(
    'details',
    { 'data-operation': name },
    element('summary', {}, element('code', {}, name), ` ${operation.summary ?? ''}`),
    element(
      'div',
      {},
      operation.description && operation.description !== operation.summary
        ? element('p', { class: 'quiet lines' }, operation.description)
        : null,
      labels,
      call,
      answer,
      element('details', {}, element('summary', {}, 'Answers'), element('div', {}, element('ul', {}, responses))),
    ),
  );
}

/** The header in which a credential of this value goes; none if it goes in no header. */
function headerOf({ type, in: place, name, scheme }, value) {
  if (type === 'apiKey' && place === 'header') return { [name]: value };
  if (type !== 'http') return undefined;
  const bytes = new TextEncoder().encode(value);
  const text = scheme === 'basic' ? btoa(String.fromCharCode(...bytes)) : value;
  return { authorization: `${scheme === 'basic' ? 'Basic' : 'Bearer'} ${text}` };
}

/** Fields for what calls prove who they are with, and the headers of an operation that their values make. */
function credentialsOf(all) {
  const field = () => element('input', { type: 'password', autocomplete: 'off' });
  const label = (title, input) => element('label', { class: 'field' }, element('span', {}, title), input);
  const declared = Object.entries(all.components?.securitySchemes ?? {})
    .filter(([, scheme]) => headerOf(scheme, '') !== undefined)
    .map(([name, scheme]) => ({ name, scheme, input: field() }));
  if (declared.length === 0) {
    const input = field();
    const headers = () => (input.value === '' ? {} : { authorization: `Bearer ${input.value}` });
    return { labels: [label('Token of calls, if they need one', input)], headers };
  }
  const headers = (operation) => {
    const wanted = new Set((operation.security ?? []).flatMap((one) => Object.keys(one)));
    const given = declared.filter(({ name, input }) => wanted.has(name) && input.value !== '');
    return Object.assign({}, ...given.map(({ scheme, input }) => headerOf(scheme, input.value)));
  };
  const labels = declared.map(({ name, scheme, input }) => {
    const form = scheme.scheme === 'basic' ? ' (name:password)' : '';
    return label(`${name}: ${scheme.description ?? ''}${form}`, input);
  });
  return { labels, headers };
}

function show(all) {
  document.title = all.info.title;
  document.getElementById('name').textContent = all.info.title;
  const isApi = location.pathname === '/api/docs';
  const credentials = credentialsOf(all);
  const token = () => (heldToken() === '' ? {} : { authorization: `Bearer ${heldToken()}` });
  const authorized = isApi ? token : credentials.headers;
  const forms = Object.entries(all.paths ?? {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method] !== undefined).map((method) =>
      operationForm(all, path, method, item[method], authorized),
    ),
  );
  const { externalDocs: more } = all;
  main.replaceChildren(
    element('h1', {}, all.info.title),
    all.info.description ? element('p', { class: 'quiet' }, all.info.description) : '',
    more ? element('p', {}, element('a', { href: more.url }, more.description ?? more.url)) : '',
    ...(isApi ? [] : credentials.labels),
    ...(forms.length > 0 ? forms : [element('p', {}, 'There are no functions.')]),
  );
}

function askForToken(reason) {
  const input = element('input', { type: 'password', autocomplete: 'off' });
  const open = (event) => {
    event.preventDefault();
    useToken(input.value);
    load();
  };
  main.replaceChildren(
    notice(reason),
    element(
      'form',
      { onsubmit: open },
      element('label', { class: 'field' }, element('span', {}, 'Token of the admin API'), input),
      element('button', { class: 'main' }, 'Open'),
    ),
  );
}

async function load() {
  try {
    show(await read(`${location.pathname.replace(/\/docs$/, '')}/openapi.json`));
  } catch (error) {
    if (error.status === 401) forgetToken();
    if (error.status === 401 || error.status === 403) askForToken(error.message);
    else main.replaceChildren(notice(error.message));
  }
}

load();
