// The page of one asynchronous call: its state as it changes, its times, what it came to, and what can be done with it.

import { ask, change, events, read, Refused, whyNot } from './api.js';
import { linkOf as linkOfCall } from './calls.js';
import { button, element, notice } from './dom.js';
import { ago, bytes, NOTHING } from './format.js';
import { calledBy, linkOf } from './queue.js';

/** Characters of a result that are shown. */
const SHOWN = 65_536;
/** The wait before a call is looked at again whose events have ended before it. */
const AGAIN = 5000;

function timeOf(text) {
  return text ? element('span', {}, element('time', { datetime: text }, text), `, ${ago(text)}`) : undefined;
}

function linkOfId(id, text) {
  return element('a', { href: `#/queued/${id}` }, text);
}

/** Where the end of a call is reported to, and how far that is. */
function factsOfCallback(callback) {
  if (!callback) return [];
  const { url, id, state, tries, next_try: next, ended, error } = callback;
  const shown = state && element('span', { class: `state ${state}` }, state);
  const counted = ` ${tries} ${tries === 1 ? 'try' : 'tries'}`;
  return [
    ['Callback', element('code', {}, url)],
    ['Report', id && element('span', {}, linkOfId(id, 'Report of the end'), ' ', shown, counted)],
    ['Next try of the report', next && element('time', { datetime: next }, next)],
    ['End of the report', timeOf(ended)],
    ['Error of the report', error && `${error.code}: ${error.message}`],
  ];
}

function factsOf(call, request, timeline) {
  return [
    ['State', element('span', { class: `state ${call.state}` }, call.state)],
    ['Deployment', element('a', { href: `#/deployment/${encodeURIComponent(call.deployment)}` }, call.deployment)],
    ['Function', call.function],
    ['Made by', call.origin],
    ['Callback of', call.callback_of && linkOfId(call.callback_of, call.callback_of)],
    ['Priority', call.priority === 'normal' ? undefined : call.priority],
    ['Accepted', timeOf(call.accepted)],
    ['Tries', String(call.tries)],
    ['Last try', timeOf(call.started)],
    ['Next try', call.next_try && element('time', { datetime: call.next_try }, call.next_try)],
    ['Too old at', call.expires && element('time', { datetime: call.expires }, call.expires)],
    ['Ended', timeOf(call.ended)],
    ['Kept until', call.removed && element('time', { datetime: call.removed }, call.removed)],
    ['Status', call.status && String(call.status)],
    ...factsOfCallback(call.callback),
    ['Arguments', request && `${request.arguments_bytes} bytes`],
    ['Plugins', request && (request.passed.join(', ') || NOTHING)],
    ['Request id', request && element('code', {}, request.request_id)],
    ['Acceptance', timeline && element('a', { href: linkOfCall(request.request_id) }, 'Timeline')],
  ].filter(([, value]) => value !== undefined && value !== '');
}

/** What the gateway answers, or nothing where it refuses. */
async function found(path, signal) {
  try {
    return await read(path, { signal });
  } catch (error) {
    if (error instanceof Refused || signal.aborted) return undefined;
    throw error;
  }
}

/** Shows the asynchronous call with this id. */
export function queuedCallPage(main, id, signal, caller) {
  const address = `/api/calls/${encodeURIComponent(id)}`;
  let call;
  let request;
  let timeline;
  let isExplained = false;
  const facts = element('dl');
  const message = element('div', { role: 'status' });
  const outcome = element('div');
  const title = element('h1', {}, 'Asynchronous call');
  const back = element('a', { href: '#/queue' }, '← Queue');
  const takeBack = () => attempt('cancel', () => ask(address, { method: 'DELETE' }));
  const cancel = button('Cancel', takeBack, { kind: 'danger' });
  const retry = button('Try again', () => attempt('try again', () => change(`${address}/retry`, {})));
  const actions = element('p', { class: 'bar' }, cancel, retry);
  actions.hidden = true;
  main.replaceChildren(element('p', {}, back), title, facts, actions, message, outcome);

  function disable(control, reason) {
    control.disabled = Boolean(reason);
    control.title = reason ?? '';
  }

  function draw() {
    title.textContent = calledBy(call);
    back.setAttribute('href', linkOf(call.deployment));
    const shown = factsOf(call, request, timeline);
    facts.replaceChildren(...shown.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]));
    const isUnderWay = ['queued', 'running'].includes(call.state);
    disable(cancel, isUnderWay ? undefined : `the call is ${call.state}`);
    const mayRetry = ['dead', 'cancelled'].includes(call.state);
    disable(retry, mayRetry ? whyNot(caller, call.deployment) : `the call is ${call.state}`);
    actions.hidden = false;
  }

  async function drawOutcome() {
    if (call.error) {
      const heading = call.state === 'dead' ? 'Error' : 'Error of the last try';
      const text = `${call.error.code}: ${call.error.message}`;
      outcome.replaceChildren(element('h2', {}, heading), element('p', { class: 'notice' }, text));
    } else if (call.state !== 'done') {
      outcome.replaceChildren();
    } else {
      // As it was answered: numbers of functions stay as they were written.
      const text = await (await ask(`${address}/result`, { signal })).text();
      const rest = text.length > SHOWN ? '\n… (the rest is not shown)' : '';
      outcome.replaceChildren(
        element('h2', {}, `Result, ${bytes(new Blob([text]).size)}`),
        element('pre', { tabindex: '0', 'aria-label': 'Result' }, `${text.slice(0, SHOWN)}${rest}`),
      );
    }
  }

  async function attempt(what, act) {
    try {
      await act();
      message.replaceChildren(element('p', {}, `${what}: done`));
    } catch (error) {
      message.replaceChildren(notice(`${what}: ${error.message}`));
    }
    const isFollowed = ['queued', 'running'].includes(call.state);
    if (!isFollowed && !signal.aborted) follow();
  }

  /** Shows each state of the call, until it has ended. */
  async function follow() {
    try {
      await events(address, signal, (data) => {
        call = JSON.parse(data);
        draw();
        if (!isExplained && call.state !== 'done' && !call.callback_of) explain().catch(failed);
        drawOutcome().catch(failed);
      });
      const isUnderWay = [call?.state, call?.callback?.state].some((state) => ['queued', 'running'].includes(state));
      if (isUnderWay) setTimeout(() => !signal.aborted && follow(), AGAIN);
    } catch (error) {
      failed(error);
    }
  }

  function failed(error) {
    if (!signal.aborted) message.replaceChildren(notice(error.message));
  }

  /** Asks what the call is made of, which is kept until it is done. A report is made of the call that it is about. */
  async function explain() {
    isExplained = true;
    request = await found(`${address}/request`, signal);
    if (!request) return;
    // Its acceptance is among the last calls for a while; calls of schedules never are.
    if (!call.origin) timeline = await found(`/api/recent-calls/${encodeURIComponent(request.request_id)}`, signal);
    if (!signal.aborted) draw();
  }

  follow();
  return { show() {} };
}
