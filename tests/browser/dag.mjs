// The views of a DAG.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeFile, readFile } from 'node:fs/promises';
import { api, at, DAGS, link, run, until } from './harness.mjs';

const cells = (page, row) => page.locator('tr', { has: page.getByRole('rowheader', { name: row }) }).locator('td a');

test('the grid shows runs against tasks, and groups fold', async () => {
  await run('shop');
  await at('#/dags/shop', async (page) => {
    await page.getByRole('rowheader', { name: 'orders' }).waitFor();
    const newest = cells(page, 'orders').last();
    assert.match(await newest.getAttribute('aria-label'), /^extract\.orders: success, manual__/);
    await page.getByRole('button', { name: /^extract/ }).click();
    assert.equal(await page.getByRole('rowheader', { name: 'orders' }).count(), 0);
    assert.match(await cells(page, /^extract/).last().getAttribute('aria-label'), /^extract: success, 2 of 2 tasks ended/);
    await page.reload();
    await page.getByRole('button', { name: 'Unfold all' }).click();
    await page.getByRole('rowheader', { name: 'orders' }).waitFor();
    await newest.click();
    await page.getByRole('region', { name: 'Task instance' }).getByRole('heading', { name: 'extract.orders' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('region', { name: 'Run', exact: true }).waitFor();
    await page.keyboard.press('Escape');
    await until('the panel is closed', async () => (await page.getByRole('region', { name: 'Run', exact: true }).count()) === 0);
  });
});

test('the keyboard alone goes through the grid', async () => {
  await at('#/dags/shop', async (page) => {
    await page.getByRole('rowheader', { name: 'orders' }).waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? '');
    // The page reads more than once; Tab until the grid has the focus.
    await until('Tab reaches the grid', async () => {
      await page.keyboard.press('Tab');
      return /__.*: (success|failed)/.test(await focused());
    });
    await page.keyboard.press('End');
    await page.keyboard.press('ArrowDown');
    assert.match(await focused(), /^start: success/);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    assert.match(await focused(), /^extract\.orders: success/);
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Task instance' }).getByRole('heading', { name: 'extract.orders' }).waitFor();
  });
});

test('the graph is drawn, enlarged, folded, and leads to tasks', async () => {
  const id = await run('shop');
  await at(link('shop', 'graph', { run: id }), async (page) => {
    const box = (name) => page.locator('svg a', { hasText: name });
    await page.getByRole('link', { name: /^check success: check, BashOperator/ }).waitFor();
    assert.equal(await page.locator('svg rect.frame').count(), 2);
    assert.equal(await page.locator('svg path.edge').count(), 4);
    const zoom = () => page.locator('svg > g').getAttribute('transform');
    const before = await zoom();
    await page.getByRole('button', { name: 'Enlarge' }).click();
    assert.notEqual(await zoom(), before);
    await page.getByRole('button', { name: 'Show all of it' }).click();
    assert.equal(await zoom(), before);
    await page.getByRole('button', { name: /^Fold extract/ }).click();
    await page.getByRole('button', { name: /^extract 2 tasks: group extract, 2 success/ }).waitFor();
    assert.equal(await page.locator('svg rect.frame').count(), 1);
    await page.getByRole('button', { name: 'Unfold all' }).click();
    await until('both are open', async () => (await page.locator('svg rect.frame').count()) === 2);
    await box('check').click();
    await page.getByRole('region', { name: 'Task instance' }).getByRole('heading', { name: 'check' }).waitFor();
  });
});

test('the graph follows a run while it runs', async () => {
  await at('#/dags/steady/graph', async (page) => {
    await page.getByRole('combobox', { name: 'Run' }).waitFor();
    const id = await run('steady', {}, false);
    await page.getByRole('combobox', { name: 'Run' }).getByText(id).waitFor({ state: 'attached' });
    const seen = new Set();
    await until('it comes to its end', async () => {
      const text = await page.getByRole('link', { name: /^one / }).getAttribute('aria-label');
      seen.add(text);
      return text.startsWith('one success') && seen.size > 1;
    });
  });
});

test('Gantt, calendar, durations and runs show the runs', async () => {
  const id = await run('shop');
  await at(link('shop', 'gantt', { run: id }), async (page) => {
    await page.locator('.runs.s-success').first().waitFor();
    assert.equal(await page.locator('.runs').count(), 5, 'a bar for each task that ran');
    await page.getByRole('listitem').getByRole('link', { name: 'success tables' }).click();
    await page.getByRole('region', { name: 'Task instance' }).getByRole('heading', { name: 'load.tables' }).waitFor();
    const main = page.getByRole('navigation', { name: 'Views of the DAG' });
    await main.getByRole('link', { name: 'Calendar' }).click();
    const today = new Date();
    const name = `${today.getDate()} ${today.toLocaleString('en', { month: 'short' })} ${today.getFullYear()}`;
    await page.getByRole('button', { name: new RegExp(`^${name}: .*success`) }).click();
    await page.getByRole('region', { name: 'Runs of the day' }).getByText(id).waitFor();
    await main.getByRole('link', { name: 'Durations' }).click();
    await page.getByRole('link', { name: new RegExp(`^${id.replace(/[+.]/g, '\\$&')}: success, took`) }).waitFor();
    await main.getByRole('link', { name: 'Runs' }).click();
    await page.locator('table').getByText(id).waitFor();
    await page.getByLabel('State', { exact: true }).selectOption('failed');
    await until('the list is filtered', async () => (await page.locator('table').getByText(id).count()) === 0);
  });
});

test('details say what the file says', async () => {
  await at('#/dags/shop/details', async (page) => {
    await page.getByText('Loads orders.').waitFor();
    await page.getByText('are left out').waitFor();
    await page.getByRole('cell', { name: 'extract.customers', exact: true }).waitFor();
    await page.getByRole('cell', { name: 'Where the orders are from' }).waitFor();
  });
});

test('a backfill shows its dates first, then is made, paused and cancelled', async () => {
  await at('#/dags/baker/backfills', async (page) => {
    await page.getByText('No backfill yet').waitFor();
    await page.getByRole('button', { name: 'New backfill…' }).click();
    const make = page.getByRole('dialog', { name: 'Backfill baker' });
    await make.getByLabel('From (local time)').fill('2026-02-01T00:00');
    await make.getByLabel('Until').fill('2026-01-01T00:00');
    await make.getByText('The first date is after the last one.').waitFor();
    await make.getByLabel('Until').fill('2026-07-01T00:00');
    await make.getByLabel('Runs at once').fill('1');
    await make.getByRole('button', { name: /^Make 1[45]\d runs$/ }).click();
    await page.getByText(/A backfill of 1[45]\d runs has begun/).waitFor();
    const row = page.getByRole('row', { name: /under way/ });
    await row.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('row', { name: /paused/ }).waitFor();
    await page.locator('.toast', { hasText: 'The backfill is paused' }).getByRole('button', { name: 'Undo' }).click();
    await row.waitFor();
    await row.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('row', { name: /ended/ }).waitFor();
    const { backfills } = await api('/api/v2/backfills?dag_id=baker');
    assert.ok(backfills[0].completed_at);
  });
  await at('#/dags/eater/backfills', async (page) => {
    await page.getByText('This DAG has no schedule of times').waitFor();
    assert.ok(await page.getByRole('button', { name: 'New backfill…' }).isDisabled());
  });
});

test('versions of the source are switched between and compared', async () => {
  const file = `${DAGS}/flaky.yaml`;
  const before = await readFile(file, 'utf8');
  await writeFile(file, before.replace('Works at the second try', 'Works at the second try, now and then').replace('retries: 1', 'retries: 3'));
  try {
    await until('there are two versions', async () => (await api('/api/v2/dags/flaky/dagVersions')).total_entries === 2);
    await at('#/dags/flaky/source', async (page) => {
      await page.getByText('retries: 3').waitFor();
      await page.getByLabel('Version', { exact: true }).selectOption({ index: 2 });
      await page.getByText('retries: 1').waitFor();
      await page.getByLabel('Version', { exact: true }).selectOption('');
      await page.getByLabel('Compare with').selectOption('1');
      await page.locator('.removed', { hasText: 'retries: 1' }).waitFor();
      await page.locator('.added', { hasText: 'retries: 3' }).waitFor();
    });
  } finally {
    await writeFile(file, before);
  }
});

test('assets say who makes them, who waits, and what happened', async () => {
  await at('#/assets', async (page) => {
    await page.getByRole('link', { name: 'bread' }).click();
    const asset = page.getByRole('region', { name: 'Asset' });
    await asset.getByRole('heading', { name: 'bread' }).waitFor();
    await asset.getByRole('button', { name: 'Note an update' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Note the update' }).click();
    await page.getByText('Noted an update of bread.').waitFor();
    await asset.getByText('from outside').first().waitFor();
    await asset.getByRole('button', { name: 'Make it' }).click();
    await page.getByText('A run was triggered that makes bread.').waitFor();
    await asset.getByRole('link', { name: 'baker bake' }).first().waitFor();
    await asset.getByRole('link', { name: /^eater / }).first().click();
    await page.getByRole('heading', { name: 'eater' }).waitFor();
  });
  await at('#/dags/eater/assets', async (page) => {
    await page.getByRole('link', { name: 'bread' }).waitFor();
    await page.getByText('s3://bakery/bread').waitFor();
  });
});
