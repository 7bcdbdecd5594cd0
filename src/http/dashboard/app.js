// The dashboard: chooses the page by the part of the address behind `#`, and follows what it shows over one connection
// while the page is seen.

import { forgetToken, useToken } from './api.js';
import { callsPage } from './calls.js';
import { deploymentPage } from './deployment.js';
import { button, element, notice } from './dom.js';
import { follow, merged } from './events.js';
import { milliseconds } from './format.js';
import { overviewPage } from './overview.js';
import { pluginPage, pluginsPage } from './plugins.js';
import { queuePage } from './queue.js';
import { queuedCallPage } from './queued.js';
import { callPage } from './timeline.js';
import { wiringPage } from './wiring.js';

/** The time after which pages are shown again without new figures: they say how long ago things were. */
const STALE = 1500;
/** How long the news of a change is shown. */
const NEWS = 15_000;
const main = document.getElementById('main');
const status = document.getElementById('status');
const news = document.getElementById('news');
const footer = document.getElementById('footer');
let page;
let leave = new AbortController();
let latest;
let shownAt = 0;
let connection;
/** The kind of calls that the page lists. */
let kindOfCalls = 'all';
/** Whether a token is asked for. */
let isLocked = false;

/** The page that the address names. */
function place() {
  const [kind, name] = location.hash.replace(/^#\/?/, '').split('/');
  try {
    return [kind, name && decodeURIComponent(name)];
  } catch {
    return [];
  }
}

/** Shows the page of the address. */
function open() {
  leave.abort();
  leave = new AbortController();
  const [kind, name] = place();
  const areas = { call: 'calls', queued: 'queue' };
  const area = areas[kind] ?? (['plugins', 'wiring', 'calls', 'queue'].includes(kind) ? kind : '');
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#/${area}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (kind === 'plugins' && name) page = pluginPage(main, name, leave.signal, latest.caller);
  else if (kind === 'plugins') page = pluginsPage(main, leave.signal);
  else if (kind === 'wiring') page = wiringPage(main, leave.signal);
  else if (kind === 'calls') page = callsPage(main, listCalls);
  else if (kind === 'queue') page = queuePage(main, name, leave.signal, latest.caller);
  else if (kind === 'queued' && name) page = queuedCallPage(main, name, leave.signal, latest.caller);
  else if (kind === 'call' && name) page = callPage(main, name, leave.signal);
  else if (kind === 'deployment' && name)
    page = deploymentPage(main, name, leave.signal, latest.caller, listCalls);
  else page = overviewPage(main, latest.caller);
  showPage();
}

/** Asks for what the page of the address shows, over one connection for all of it. */
function connect() {
  connection?.close();
  connection = undefined;
  if (document.hidden || isLocked) return;
  const [kind, name] = place();
  const query = new URLSearchParams({ overview: 'true' });
  if (kind === 'deployment' && name) {
    query.set('log', name);
    query.set('calls', name);
  } else if (kind === 'calls') query.set('calls', '');
  if (query.has('calls')) query.set('kind', kindOfCalls);
  connection = follow(query, {
    live() {
      if (latest) showStatus(latest.status, latest.status);
    },
    lost(error, wait) {
      const what = error?.status ? 'refused' : error ? 'not reached' : 'ended';
      showStatus(`${what}, again in ${milliseconds(Math.max(wait, 1000))}`, 'failed');
      if (!page) main.replaceChildren(notice(error?.message ?? 'the gateway has ended the connection'));
    },
    unauthorized: (error) => askForToken(error.message),
    overview(event) {
      latest = merged(latest, event);
      showHead();
      if (!page) open();
      else showPage();
    },
    calls: (event) => page?.calls?.(event),
    log: (event) => page?.log?.(event),
    refused: (event) => page?.refused?.(event),
    change(event) {
      const of = event.deployment ? ` of ${event.deployment}` : '';
      news.textContent = `${event.kind}${of}: ${event.outcome}`;
      setTimeout((text) => news.textContent === text && news.replaceChildren(), NEWS, news.textContent);
      page?.change?.(event);
    },
  });
}

function showPage() {
  shownAt = performance.now();
  page.show(latest);
}

/** Has the calls of this kind listed. */
function listCalls(kind) {
  kindOfCalls = kind;
  connect();
}

function askForToken(message) {
  isLocked = true;
  connection?.close();
  page = undefined;
  leave.abort();
  const token = element('input', { type: 'password', id: 'token', autocomplete: 'off' });
  const form = element(
    'form',
    {
      class: 'bar',
      onsubmit: (event) => {
        event.preventDefault();
        useToken(token.value.trim());
        isLocked = false;
        connect();
      },
    },
    element('label', {}, 'Token ', token),
    element('button', { class: 'main' }, 'Open'),
  );
  main.replaceChildren(element('h1', {}, 'A token is needed'), form, element('p', { class: 'quiet' }, message));
  footer.replaceChildren();
  showStatus('', '');
  token.focus();
}

/** Shows the state of the gateway, or of the connection to it. Only a new text is read out. */
function showStatus(text, kind) {
  if (status.textContent !== text) status.textContent = text;
  status.className = `state ${kind}`;
}

function showHead() {
  showStatus(latest.status, latest.status);
  const { name, may } = latest.caller;
  footer.replaceChildren(
    `metagate ${latest.version}, addresses below /${latest.prefix}/. You are "${name}" and may: ${may.join(', ')}. `,
  );
  if (name !== 'local')
    footer.append(
      button('Forget the token', () => {
        forgetToken();
        askForToken('The token was forgotten.');
      }),
    );
}

function chooseTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

const theme = document.getElementById('theme');
theme.value = localStorage.getItem('metagate-theme') ?? '';
chooseTheme(theme.value);
theme.addEventListener('change', () => {
  localStorage.setItem('metagate-theme', theme.value);
  chooseTheme(theme.value);
});
addEventListener('hashchange', () => {
  if (!latest || isLocked) return;
  kindOfCalls = 'all';
  open();
  connect();
  main.focus();
});
document.addEventListener('visibilitychange', connect);
setInterval(() => {
  if (page && connection && performance.now() - shownAt >= STALE) showPage();
}, STALE / 3);
connect();
