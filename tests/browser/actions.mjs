// What people do, each with its preview.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, link, run } from './harness.mjs';

test('a run is triggered by a form made from the params', async () => {
  await at('#/dags/shop', async (page) => {
    await page.getByRole('button', { name: 'Trigger', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Trigger shop' });
    await dialog.getByText('Params have their defaults.').waitFor();
    await dialog.getByLabel('Region').selectOption('us');
    await dialog.getByLabel('limit').fill('12');
    await dialog.getByLabel('full').check();
    await dialog.getByLabel('tables').fill('orders\nstock');
    await dialog.getByText('region = "us"').waitFor();
    await dialog.getByText('tables = ["orders","stock"]').waitFor();
    await dialog.getByLabel('options').fill('{"deep": ');
    await dialog.getByText(/options is no JSON/).waitFor();
    assert.equal(await dialog.getByRole('button', { name: 'Trigger a run' }).isDisabled(), true);
    await dialog.getByLabel('options').fill('{"deep": 2}');
    await dialog.getByRole('button', { name: 'As JSON' }).click();
    assert.deepEqual(JSON.parse(await dialog.getByLabel('Conf, as JSON').inputValue()), { region: 'us', limit: 12, full: true, tables: ['orders', 'stock'], options: { deep: 2 } });
    await dialog.getByRole('button', { name: 'As a form' }).click();
    await dialog.getByText('Run id and logical date').click();
    await dialog.getByLabel('Run id').fill('by-hand');
    await dialog.getByRole('button', { name: 'Trigger a run' }).click();
    await page.getByRole('region', { name: 'Run', exact: true }).getByRole('heading', { name: 'by-hand' }).waitFor();
    const { conf } = await api('/api/v2/dags/shop/dagRuns/by-hand');
    assert.deepEqual(conf, { region: 'us', limit: 12, full: true, tables: ['orders', 'stock'], options: { deep: 2 } });
  });
});

test('a run triggered from the list is made once, and shown', async () => {
  const count = async () => (await api('/api/v2/dags/flaky/dagRuns?limit=1')).total_entries;
  const before = await count();
  await at('#/dags', async (page) => {
    await page.getByRole('button', { name: 'Trigger flaky' }).click();
    await page.getByRole('dialog', { name: 'Trigger flaky' }).getByRole('button', { name: 'Trigger a run' }).dblclick();
    await page.getByRole('heading', { name: 'flaky' }).waitFor();
    await page.getByRole('region', { name: 'Run', exact: true }).getByText('by hand').waitFor();
    assert.match(page.url(), /#\/dags\/flaky\/grid\?run=manual__/);
  });
  assert.equal(await count(), before + 1);
});

test('what the server refuses is said in the form', async () => {
  await at(
    '#/dags/shop',
    async (page) => {
      await page.getByRole('button', { name: 'Trigger', exact: true }).click();
      const dialog = page.getByRole('dialog', { name: 'Trigger shop' });
      await dialog.getByText('Run id and logical date').click();
      await dialog.getByLabel('Run id').fill('by-hand');
      await dialog.getByRole('button', { name: 'Trigger a run' }).click();
      await dialog.getByRole('alert').getByText('by-hand').waitFor();
      await page.keyboard.press('Escape');
      assert.equal(await page.getByRole('dialog').count(), 0);
    },
    { expected: ['status of 4'] },
  );
});

const stateOf = async (id, task) => (await api(`/api/v2/dags/shop/dagRuns/${encodeURIComponent(id)}/taskInstances/${task}`)).state;

test('a task is marked, after a look at what that changes, and the mark is undone', async () => {
  const id = await run('shop', { region: 'us' });
  await at(link('shop', 'grid', { run: id, task: 'check' }), async (page) => {
    await page.getByRole('button', { name: 'Mark as…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Mark check' });
    await dialog.getByText('1 task instance will change, and become success').waitFor();
    assert.equal(await stateOf(id, 'check'), 'failed', 'a preview changes nothing');
    await dialog.getByRole('button', { name: 'Mark as success' }).click();
    await page.getByText('Marked check as success.').waitFor();
    assert.equal(await stateOf(id, 'check'), 'success');
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Undone.').waitFor();
    assert.equal(await stateOf(id, 'check'), 'failed');
  });
});

test('a task is cleared with what is below it, after a look at that', async () => {
  const id = await run('shop', { region: 'us' });
  await at(link('shop', 'grid', { run: id, task: 'check' }), async (page) => {
    await page.getByRole('button', { name: 'Clear…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Clear check' });
    await dialog.getByText('3 task instances will change').waitFor();
    await dialog.getByLabel('What is downstream').uncheck();
    await dialog.getByText('1 task instance will change').waitFor();
    await dialog.getByLabel('What is downstream').check();
    await dialog.getByRole('button', { name: 'Clear 3' }).click();
    await page.getByText('Cleared 3 task instances').waitFor();
    await page.getByRole('region', { name: 'Task instance' }).getByText('2 of', { exact: false }).first().waitFor();
  });
});
