// The pages of asynchronous calls, used by click: lists with filters, one call, and what is done with one or with all.
import assert from 'node:assert/strict';

/** Uses them as who may do everything. */
export async function queue({ page, origin, inspect, token, hostile }) {
  const authorization = { authorization: `Bearer ${token}` };
  /** Makes a call of the function `math/<name>` without waiting for it. Returns its id. */
  async function accept(name, args, id, more = {}) {
    const headers = { prefer: 'respond-async', 'x-request-id': id, 'content-type': 'application/json', ...more };
    const address = `${origin}/local/math/v1/call/${name}`;
    const answer = await fetch(address, { method: 'POST', headers, body: JSON.stringify(args) });
    assert.equal(answer.status, 202);
    return (await answer.json()).id;
  }
  const ended = (id) => fetch(`${origin}/api/calls/${id}?wait=20s`, { headers: authorization });
  const row = (id) => page.locator(`tr[data-id="${id}"]`);

  const done = await accept('sum', [20, 22], 'accepted-and-done');
  const dead = await accept('sum', { a: 'none' }, 'accepted-and-dead');
  const failing = await accept('fail', [hostile], 'accepted-and-failing');
  await Promise.all([done, dead].map(ended));

  // From the overview to the list of a deployment's calls, with the next times of its schedules.
  await page.goto(`${origin}/#/`);
  await page.locator('tr[data-name=math]').getByText('1 queued, 1 dead').waitFor();
  await page.getByRole('link', { name: 'math', exact: true }).click();
  await page.getByRole('region', { name: 'Schedules' }).getByText('hourly').waitFor();
  await page.locator('dd', { hasText: '1 queued, 1 dead' }).waitFor();
  await page.getByRole('link', { name: 'Asynchronous calls' }).click();
  await page.getByLabel('Table of asynchronous calls').getByText('math/sum').first().waitFor();
  assert.equal(await page.getByLabel('Deployment').inputValue(), 'math');
  await row(failing).getByText('queued').waitFor();
  await row(failing).getByText(hostile).waitFor();
  assert.equal(await page.locator('img').count(), 0, 'messages of functions are text');
  await inspect('the queue', 'queue');
  await page.getByRole('button', { name: 'Dead', exact: true }).click();
  await row(done).waitFor({ state: 'detached' });
  await row(dead).waitFor();
  await page.getByRole('button', { name: 'All', exact: true }).click();
  await page.getByLabel('Function').fill('fail');
  await page.keyboard.press('Enter');
  await row(dead).waitFor({ state: 'detached' });
  await row(failing).waitFor();

  // One call: it waits for its second try, is taken back, and tried again.
  await row(failing).getByRole('link').click();
  await page.getByRole('heading', { name: 'math/fail' }).waitFor();
  await page.getByText('Error of the last try').waitFor();
  await page.getByText('accepted-and-failing').waitFor();
  await page.getByRole('link', { name: 'Timeline' }).waitFor();
  assert.ok(await page.getByRole('button', { name: 'Try again' }).isDisabled(), 'it waits already');
  await inspect('an asynchronous call');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('dd .cancelled').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Cancel' }).isDisabled(), 'it is taken back already');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('dd .queued').waitFor();
  await page.getByText('Tries', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'Timeline' }).click();
  await page.getByText('Request read').first().waitFor();

  // A result, as it was answered.
  await page.goto(`${origin}/#/queued/${done}`);
  await page.getByLabel('Result').getByText('42').waitFor();

  // The report of a call's end is a call of its own.
  const callback = 'http://127.0.0.1:9/reports';
  const reported = await accept('sum', [1, 2], 'accepted-and-reported', { callback });
  await ended(reported);
  await page.goto(`${origin}/#/queue/math`);
  await page.getByText('callback of math/sum').waitFor();
  await row(reported).getByText('math/sum', { exact: true }).click();
  await page.getByText(callback).waitFor();
  await page.getByRole('link', { name: 'Report of the end' }).click();
  await page.getByRole('heading', { name: 'callback of math/sum' }).waitFor();
  await inspect('a callback');
  await page.getByRole('link', { name: reported }).click();
  await page.getByRole('heading', { name: 'math/sum', exact: true }).waitFor();
  await page.getByText('callback_failed', { exact: false }).waitFor();

  // All of a filter.
  await page.goto(`${origin}/#/queue`);
  await page.getByRole('button', { name: 'Queue dead calls again' }).click();
  await page.getByText('Queue all dead calls of all deployments again?').waitFor();
  await inspect('a question');
  await page.getByRole('button', { name: 'Confirm' }).click();
  await page.getByText('1 call was queued again').waitFor();
  await ended(dead);
  await page.getByRole('button', { name: 'Dead', exact: true }).click();
  await row(dead).waitFor();
  await page.getByRole('button', { name: 'Remove ended calls' }).click();
  await page.getByText('Remove all dead calls of all deployments, with their results?').waitFor();
  await page.getByRole('button', { name: 'Confirm' }).click();
  await page.getByText('1 call was removed').waitFor();
  await row(dead).waitFor({ state: 'detached' });
  await page.getByText('No calls of this kind.').waitFor();
}
