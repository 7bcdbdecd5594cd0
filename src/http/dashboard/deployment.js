// The page of one deployment: its functions, releases, variables, plugins, log, and its end.

import { change, read, Refused, whyNot } from './api.js';
import { functionForm } from './call.js';
import { callList } from './calls.js';
import { chainSections } from './chain.js';
import { button, confirmed, element, notice, table } from './dom.js';
import { ago, bytes, milliseconds, NOTHING, rate } from './format.js';
import { countsOf, linkOf as linkOfQueue } from './queue.js';
import { callerOf } from './invoke.js';
import { logTail } from './logs.js';

/** The functions in the packages of `/api/inspect`. */
function functionsOf(packages) {
  const handles = Object.values(packages ?? {}).flat();
  return handles.flatMap((handle) => handle.scope?.funcs ?? []).filter((fn) => fn.schema);
}

/** What the API has of a deployment below this path; nothing if that is refused. */
async function found(path, name) {
  try {
    return await read(`${path}/${encodeURIComponent(name)}`);
  } catch (error) {
    if (error instanceof Refused && error.status < 500) return undefined;
    throw error;
  }
}

export function deploymentPage(main, name, signal, caller, listCalls) {
  const figures = element('dl');
  const body = element('div', {}, element('p', { class: 'quiet' }, 'loading …'));
  const message = element('div', { role: 'status' });
  main.replaceChildren(
    element('p', {}, element('a', { href: '#/' }, '← Deployments')),
    element('h1', {}, name),
    figures,
    message,
    body,
  );
  const reason = whyNot(caller, name);
  const log = logTail(name);
  const calls = callList(name, listCalls);

  async function attempt(what, done) {
    message.replaceChildren(element('p', { class: 'quiet' }, `${what} …`));
    try {
      await done();
      message.replaceChildren(element('p', {}, `${what}: done`));
      if (!signal.aborted) await load();
    } catch (error) {
      message.replaceChildren(notice(`${what}: ${error.message}`));
    }
  }

  function releasesTable(releases) {
    const rows = releases.releases.map((one) => [
      `#${one.release}`,
      element('time', { datetime: one.created }, one.created),
      one.source ?? one.origin,
      one.env.join(', ') || NOTHING,
      one.live
        ? element('span', { class: 'state ready' }, 'live')
        : button(
            'Roll back',
            async () => {
              if (!(await confirmed(`Serve release #${one.release} of ${name} again?`))) return;
              await attempt(`rollback to #${one.release}`, () =>
                change(`/api/rollback/${encodeURIComponent(name)}`, { release: one.release }),
              );
            },
            { reason, label: `Roll back to release ${one.release}` },
          ),
    ]);
    return [
      element('h2', {}, 'Releases'),
      releases.failure ? notice(`the last deploy failed: ${releases.failure}`) : null,
      table([['Release', true], ['Made'], ['From'], ['Variables'], ['Action']], rows, '', 'Releases'),
    ];
  }

  function schedulesTable(schedules) {
    const rows = schedules.map((one) => [
      one.name,
      one.function,
      one.times,
      element('span', {}, one.next.map((time) => element('time', { datetime: time, class: 'line' }, time))),
    ]);
    return [
      element('h2', {}, 'Schedules'),
      table([['Name'], ['Function'], ['Times'], ['Next']], rows, 'cards', 'Schedules'),
    ];
  }

  async function remove() {
    if (!(await confirmed(`Delete ${name} with all its releases?`))) return;
    try {
      await change('/api/deploy/delete', { suffix: name });
      location.hash = '#/';
    } catch (error) {
      message.replaceChildren(notice(`delete: ${error.message}`));
    }
  }

  async function load() {
    const own = (await read('/api/inspect', { signal })).find((one) => one.suffix === name);
    // What the configuration defines has no releases.
    const releases = own && !own.origin ? undefined : await found('/api/releases', name);
    const chain = await found('/api/chain', name);
    const functions = functionsOf(own?.packages);
    const caller = (fn) => callerOf(own, fn.name, chain?.calls_here ?? true, reason);
    const ofConfiguration = releases ? reason : 'the configuration defines it: remove it there';
    body.replaceChildren(
      own?.error ? notice(`${own.error.code}: ${own.error.message}\n${own.error.stderr ?? ''}`) : '',
      element('h2', {}, 'Functions'),
      ...(functions.length > 0
        ? functions.map((fn) => functionForm(fn, caller(fn)))
        : [element('p', { class: 'quiet' }, 'none, or not loaded yet')]),
      ...(chain ? chainSections(chain) : []),
      ...(releases ? releasesTable(releases).filter(Boolean) : []),
      ...(own?.schedules ? schedulesTable(own.schedules) : []),
      element('h2', {}, 'Last calls'),
      element('p', {}, element('a', { href: linkOfQueue(name) }, 'Asynchronous calls')),
      calls.section,
      log.section,
      element('h2', {}, 'Remove'),
      button('Delete this deployment', remove, { reason: reason ?? ofConfiguration, kind: 'danger' }),
      element('p', { class: 'quiet' }, reason ?? ofConfiguration ?? ''),
    );
  }

  function failed(error) {
    if (!signal.aborted) body.replaceChildren(notice(error.message));
  }

  load().catch(failed);
  return {
    calls: calls.add,
    log: log.add,
    refused: ({ what, message: why }) => (what === 'log' ? log : calls).refuse(why),
    /** Someone else has changed it: what is shown may be old, and forms may hold what the user has typed. */
    change({ kind, deployment, outcome }) {
      if (deployment !== name || message.textContent.startsWith(kind)) return;
      const again = button('Show it', () => {
        message.replaceChildren();
        load().catch(failed);
      });
      message.replaceChildren(element('p', {}, `${kind}: ${outcome} `, again));
    },
    show({ deployments }) {
      const line = deployments.find((one) => one.name === name);
      const facts = line
        ? [
            ['State', element('span', { class: `state ${line.state}` }, line.state)],
            ['Release', line.release === null ? line.origin : `#${line.release}, ${line.origin}`],
            ['Workers', `${line.workers.ready} ready of ${line.workers.all}, ${line.restarts} replaced`],
            ['Calls', `${rate(line.calls_per_second)} a second, ${line.in_flight} in flight, ${line.queued} queued`],
            ['Asynchronous', countsOf(line.async)],
            ['Duration', `p50 ${milliseconds(line.p50_ms)}, p99 ${milliseconds(line.p99_ms)}`],
            ['Errors', `${rate(line.errors_per_second)} a second`],
            ['Uses', `${bytes(line.memory)}, ${line.cpu === null ? NOTHING : line.cpu.toFixed(2)} processors`],
            ['Last use', ago(line.last_used)],
            ...line.warnings.map((warning) => ['Warning', warning]),
          ]
        : [['State', 'not deployed']];
      figures.replaceChildren(
        ...facts.flatMap(([title, value]) => [element('dt', {}, title), element('dd', {}, value)]),
      );
    },
  };
}
