// What admins keep.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, run, until } from './harness.mjs';

test('import errors show the line at fault', async () => {
  await at('#/errors', async (page) => {
    const error = page.getByRole('region', { name: 'broken.yaml' });
    await error.getByText('schedule: "@dialy"').waitFor();
    await error.getByText(/no known preset/).waitFor();
  });
});

test('a pool is made, changed, undone and deleted', async () => {
  await at('#/pools', async (page) => {
    await page.getByText('default_pool').waitFor();
    await page.getByRole('button', { name: 'New pool' }).click();
    const make = page.getByRole('dialog', { name: 'New pool' });
    await make.getByLabel('Name').fill('wide');
    await make.getByLabel('Slots', { exact: true }).fill('4');
    await make.getByRole('button', { name: 'Make the pool' }).click();
    await page.getByRole('cell', { name: 'wide', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Change wide' }).click();
    const change = page.getByRole('dialog', { name: 'Change wide' });
    await change.getByText('Nothing is changed yet.').waitFor();
    await change.getByLabel('Slots', { exact: true }).fill('9');
    await change.getByText('4 → 9').waitFor();
    await change.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Changed wide.').waitFor();
    assert.equal((await api('/api/v2/pools/wide')).slots, 9);
    await page.locator('.toast', { hasText: 'Changed wide.' }).getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Undone.').waitFor();
    assert.equal((await api('/api/v2/pools/wide')).slots, 4);
    await page.getByRole('button', { name: 'Delete wide' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Deleted wide.').waitFor();
    await page.locator('.toast', { hasText: 'Deleted wide.' }).getByRole('button', { name: 'Undo' }).click();
    await page.getByRole('cell', { name: 'wide', exact: true }).waitFor();
    assert.equal((await api('/api/v2/pools/wide')).slots, 4);
  });
});

test('a variable is made, changed and found', async () => {
  await at('#/variables', async (page) => {
    await page.getByRole('button', { name: 'New variable' }).click();
    const make = page.getByRole('dialog', { name: 'New variable' });
    await make.getByLabel('Key').fill('region');
    await make.getByLabel('Value').fill('eu');
    await make.getByRole('button', { name: 'Make the variable' }).click();
    await page.getByRole('cell', { name: 'region', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Change region' }).click();
    await page.getByRole('dialog').getByLabel('Value').fill('us');
    await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await page.getByRole('cell', { name: 'us', exact: true }).waitFor();
    await page.getByLabel('Search variables').fill('nope');
    await page.getByText('No variable fits').waitFor();
    await page.getByLabel('Search variables').fill('REG');
    await page.getByRole('cell', { name: 'region', exact: true }).waitFor();
  });
});

test("a connection's secrets are written and never shown", async () => {
  await at('#/connections', async (page) => {
    await page.getByRole('button', { name: 'New connection' }).click();
    const make = page.getByRole('dialog', { name: 'New connection' });
    await make.getByLabel('Id').fill('shop_db');
    await make.getByLabel('Type').fill('postgres');
    await make.getByLabel('Host').fill('db.example');
    await make.getByLabel('Port').fill('5432');
    await make.getByLabel('Password').fill('hunter22');
    await make.getByRole('button', { name: 'Make the connection' }).click();
    await page.getByRole('cell', { name: 'db.example:5432' }).waitFor();
    await page.getByRole('button', { name: 'Change shop_db' }).click();
    const change = page.getByRole('dialog', { name: 'Change shop_db' });
    assert.equal(await change.getByLabel('Password').inputValue(), '');
    await change.getByLabel('Host').fill('db2.example');
    await change.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('cell', { name: 'db2.example:5432' }).waitFor();
    assert.ok(!(await page.content()).includes('hunter22'));
  });
});

test('a user is made, gets another password, and is removed', async () => {
  await at('#/users', async (page) => {
    await page.getByRole('button', { name: 'New user' }).click();
    const make = page.getByRole('dialog', { name: 'New user' });
    await make.getByLabel('Name').fill('ann');
    await make.getByLabel('Password').fill('short');
    await make.getByLabel('Role').selectOption('op');
    await make.getByRole('button', { name: 'Make the user' }).click();
    await make.getByRole('alert').waitFor();
    await make.getByLabel('Password').fill('a long enough password');
    await make.getByRole('button', { name: 'Make the user' }).click();
    const row = page.getByRole('row', { name: /^ann op/ });
    await row.getByRole('button', { name: 'New password…' }).click();
    const change = page.getByRole('dialog', { name: 'New password of ann' });
    await change.getByLabel('Password').fill('another long password');
    await change.getByRole('button', { name: 'Set the password' }).click();
    await page.getByText('ann has a new password').waitFor();
    await page.getByRole('button', { name: 'Remove ann' }).click();
    await page.getByRole('dialog', { name: 'Remove ann?' }).getByRole('button', { name: 'Remove' }).click();
    await page.getByText('Removed ann.').waitFor();
    assert.equal(await row.count(), 0);
  }, { expected: ['400'] });
});

test('the audit log says who did what to what, and from where', async () => {
  const id = await run('flaky', {}, false);
  await at('#/audit', async (page) => {
    const row = page.getByRole('row', { name: /trigger dag run/ }).filter({ hasText: id });
    await row.getByText('Anonymous').waitFor();
    await row.getByText('127.0.0.1').waitFor();
    await row.getByRole('link', { name: 'flaky' }).waitFor();
    await page.getByLabel('What').fill('create user');
    await page.getByRole('row', { name: /create user/ }).getByText('ann').waitFor();
    await until('others are left out', async () => (await page.getByRole('row', { name: /trigger dag run/ }).count()) === 0);
    assert.ok(!(await page.content()).includes('long password'));
    await page.getByLabel('Who').fill('nobody');
    await page.getByText('No event fits').waitFor();
    await page.goto(page.url().replace('#/audit', '#/dags/flaky/events'));
    await page.getByRole('row', { name: /trigger dag run/ }).filter({ hasText: id }).waitFor();
  });
});
