// What people come for, from where they are to where it is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, link, run, until } from './harness.mjs';

const LONG = 'finance_quarterly_revenue_recognition.customer_lifetime_value-aggregation_pipeline_v2';

test('a run that failed names what failed, one click from its log', async () => {
  const id = await run(LONG);
  await at(link(LONG, 'grid', { run: id }), async (page) => {
    const panel = page.getByRole('region', { name: 'Run', exact: true });
    await panel.getByText('What failed').getByRole('link').click();
    await page.getByRole('region', { name: 'Task instance' }).getByText(/exit code 7/).first().waitFor();
  });
});

test('a pool that holds tasks back leads to them', async () => {
  await api('/api/v2/pools', 'POST', { name: 'shut', slots: 0 }).catch((error) => assert.match(error.message, /already exists/));
  await run('held', {}, false);
  await until('it waits', async () => (await api('/api/v2/pools/shut')).scheduled_slots > 0);
  await at('#/pools', async (page) => {
    const row = page.getByRole('row', { name: /shut/ });
    await row.getByText('closed: nothing runs').waitFor();
    await row.getByRole('link').click();
    const found = page.locator('table.list tbody tr');
    await until('they are listed', async () => (await found.count()) > 0);
    assert.deepEqual(new Set(await found.locator('td:first-child').allTextContents()), new Set(['held']));
    await found.first().getByRole('link', { name: 'behind', exact: true }).click();
    await page.getByText(/it takes more slots \(1\) than the pool `shut` has \(0\)/).waitFor();
    await page.goBack();
    await page.getByRole('button', { name: 'pool shut' }).click();
    await until('those of all pools', async () => !page.url().includes('pool='));
  });
});
