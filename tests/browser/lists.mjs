// Home and the list of DAGs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, link, run, until } from './harness.mjs';

test('home says how things stand', async () => {
  await run('shop', { region: 'us' });
  await at('', async (page) => {
    await page.getByText('Server healthy').waitFor();
    const { counts } = await api('/api/updraft/v1/home');
    assert.deepEqual([counts.dags, counts.import_errors], [13, 1]);
    await page.getByRole('link', { name: /1 import error/ }).waitFor();
    await page.locator('section', { hasText: 'Failed lately' }).getByText('shop').first().waitFor();
    await page.locator('section', { hasText: 'Next' }).getByText('daily at 02:00 New York').waitFor();
  });
});

test('the list is searched, filtered, and linked to as it is', async () => {
  await at('#/dags', async (page) => {
    const names = () => page.locator('table.dags td.name a').allTextContents();
    await until('all are listed', async () => (await names()).length === 13);
    await page.getByLabel('Search DAGs').fill('second TRY');
    await until('the search looks into descriptions', async () => (await names()).join() === 'flaky');
    await page.getByLabel('Search DAGs').fill('');
    await page.getByRole('group', { name: 'Tags' }).getByRole('button', { name: 'nightly' }).click();
    await until('tags filter', async () => (await names()).join() === 'shop');
    assert.match(page.url(), /tags=nightly/);
    await page.reload();
    await until('the address keeps the filter', async () => (await names()).join() === 'shop');
    await page.getByRole('button', { name: 'Failed', exact: true }).click();
    await until('its last run has failed', async () => (await names()).join() === 'shop');
    await page.getByRole('button', { name: 'Running', exact: true }).click();
    await page.getByText('No DAG fits').waitFor();
    await page.getByRole('link', { name: 'Show all DAGs' }).click();
    await until('all are back', async () => (await names()).length === 13);
    await page.getByText('daily at 02:00 New York').waitFor();
  });
});

test('a favourite stays one, for its user', async () => {
  await at('#/dags', async (page) => {
    await page.getByRole('button', { name: 'Favourites' }).click();
    await page.getByText('No favourite yet').waitFor();
    await page.getByRole('button', { name: 'All', exact: true }).click();
    await page.getByRole('button', { name: 'Favourite slow' }).click();
    await until('the server keeps it', async () => (await api('/api/v2/dags?is_favorite=true')).total_entries === 1);
    // Another browser of the same user.
    await page.evaluate(() => localStorage.clear());
    await page.reload();
    await page.getByRole('button', { name: 'Favourites' }).click();
    await page.getByRole('link', { name: 'slow', exact: true }).waitFor();
    await until('the others are not shown', async () => (await page.locator('table.dags tbody tr').count()) === 1);
    await page.getByRole('link', { name: 'slow', exact: true }).click();
    await page.getByRole('heading', { name: 'slow' }).waitFor();
    await page.getByRole('button', { name: 'Favourite', exact: true, pressed: true }).click();
    await until('it is none any more', async () => (await api('/api/v2/dags?is_favorite=true')).total_entries === 0);
  });
});

test('a DAG is paused, and the pause is undone', async () => {
  await at('#/dags', async (page) => {
    const paused = async () => (await api('/api/v2/dags/flaky')).is_paused;
    await page.getByRole('switch', { name: 'Pause flaky' }).click();
    await page.getByText('flaky is paused').waitFor();
    assert.equal(await paused(), true);
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Undone.').waitFor();
    assert.equal(await paused(), false);
    await page.getByRole('switch', { name: 'Pause flaky' }).waitFor();
  });
});

test('Ctrl K goes anywhere', async () => {
  await at('#/home', async (page) => {
    await page.keyboard.press('Control+k');
    await page.keyboard.type('flak');
    await page.getByRole('option', { name: /flaky/ }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'flaky' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type('pool');
    await page.getByRole('option', { name: /Pools/ }).waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Pools' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type('flak');
    await page.keyboard.press('Escape');
    await until('it closes at once', async () => (await page.getByRole('dialog').count()) === 0);
  });
});

test('links of the first version lead to the run and the task', async () => {
  const id = await run('flaky');
  await at(`#/dags/flaky/runs/${encodeURIComponent(id)}/tasks/flaky`, async (page) => {
    await page.getByRole('region', { name: 'Task instance' }).getByRole('heading', { name: 'flaky' }).waitFor();
    assert.ok(page.url().includes(link('flaky', 'grid', { run: id, task: 'flaky' })), page.url());
  });
});
