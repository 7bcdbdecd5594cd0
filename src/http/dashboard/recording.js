// The recording of a plugin's hook calls: started, stopped, shown, downloaded, and run again.

import { ask, change, read } from './api.js';
import { button, element, notice, table } from './dom.js';
import { bytes } from './format.js';

const COLUMNS = [['Case'], ['Hook'], ['Verdict'], ['Size', true], ['Action']];

const ENDED = {
  time: 'its time was over',
  cases: 'it has all cases that it may have',
  bytes: 'the next case would have been too large',
  stopped: 'it was stopped',
};

function number(label, value, most) {
  const input = element('input', { type: 'number', min: '1', max: String(most), value: String(value) });
  return [input, element('label', {}, `${label} `, input)];
}

/** What a replay has found. */
function resultOf({ name, ok, differences, notes, log, stack, milliseconds }) {
  const lines = [
    ...differences.map((one) => `${one.what}: expected ${one.expected}, got ${one.got}`),
    ...notes.map((note) => `note: ${note}`),
    ...log.map((line) => `log: ${line}`),
    ...stack.map((fn) => `in: ${fn}`),
  ];
  return element(
    'div',
    { class: 'result' },
    element(
      'p',
      {},
      element('strong', { class: ok ? 'ready' : 'bad' }, ok ? 'same' : 'different'),
      ` ${name}, ${milliseconds} ms`,
    ),
    lines.length > 0 ? element('pre', { tabindex: '0', 'aria-label': `Result of ${name}` }, lines.join('\n')) : null,
  );
}

/** The section with a plugin's recording. `reason`: why the caller may not record. */
export function recordingSection(name, signal, reason) {
  const base = `/api/plugins/${encodeURIComponent(name)}/recording`;
  const [cases, casesLabel] = number('Cases', 50, 1000);
  const [seconds, secondsLabel] = number('Seconds', 60, 3600);
  const state = element('p', { role: 'status' });
  const list = element('div');
  const results = element('div', { role: 'status' });
  const controls = element('div', { class: 'bar' });

  async function attempt(act) {
    try {
      await act();
    } catch (error) {
      if (!signal.aborted) results.replaceChildren(notice(error.message));
    }
  }

  async function start() {
    await change(base, { cases: Number(cases.value), seconds: Number(seconds.value) });
    results.replaceChildren();
    await show();
  }

  async function download() {
    const file = await (await ask(`${base}/cases`)).blob();
    const link = element('a', { href: URL.createObjectURL(file), download: `${name}.jsonl` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async function replay(what) {
    results.replaceChildren(element('p', { class: 'quiet' }, 'running …'));
    const { results: all, complete } = await (await change(`${base}/replay`, what)).json();
    results.replaceChildren(
      ...all.map(resultOf),
      ...(complete ? [] : [element('p', { class: 'quiet' }, 'There was no time for the others.')]),
    );
  }

  function rowOf(one) {
    return [
      one.name,
      one.hook,
      one.verdict,
      bytes(one.bytes),
      button('Run again', () => attempt(() => replay({ case: one.case })), { label: `Run again: ${one.name}` }),
    ];
  }

  async function show() {
    const answer = await read(base, { signal });
    const found = answer.state ? answer : undefined;
    const isOn = found && !found.state.ended;
    controls.replaceChildren(
      casesLabel,
      secondsLabel,
      button(found ? 'Record anew' : 'Record', () => attempt(start), { kind: 'main', reason }),
      ...(isOn ? [button('Stop', () => attempt(() => change(`${base}/stop`, {}).then(show)))] : []),
      ...(found
        ? [
            button('Show cases', () => attempt(show)),
            button('Discard', () => attempt(() => ask(base, { method: 'DELETE' }).then(show)), { kind: 'danger' }),
          ]
        : []),
    );
    state.textContent = found
      ? `${found.state.recorded} of at most ${found.state.max_cases} cases, ${bytes(found.state.bytes)}: ${
          isOn ? `recording for ${found.state.seconds} s since ${found.state.started}` : ENDED[found.state.ended]
        }`
      : 'Nothing is recorded.';
    list.replaceChildren(
      ...(found?.cases.length > 0
        ? [
            element(
              'div',
              { class: 'bar' },
              button('Download the cases', () => attempt(download)),
              button('Run all again', () => attempt(() => replay({}))),
            ),
            table(COLUMNS, found.cases.map(rowOf), 'cards', 'Recorded cases'),
          ]
        : []),
    );
  }

  if (reason) {
    controls.append(button('Record', () => {}, { kind: 'main', reason }));
    state.textContent = reason;
  } else attempt(show);
  return element(
    'section',
    {},
    element('h2', {}, 'Record and replay'),
    element(
      'p',
      { class: 'quiet' },
      'A recording keeps what the hooks of this plugin see and decide, in memory, until it is discarded or the plugin ',
      'is replaced. It holds what callers send, their credentials too. Cases run again with the component and the ',
      'settings of this plugin, without its store, and nothing answers its requests.',
    ),
    controls,
    state,
    list,
    results,
  );
}
