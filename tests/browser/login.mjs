// Logging in, and what a role may: against a server of its own, which asks for a login.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser } from './harness.mjs';

const BASE = process.env.LOGIN_BASE;

test('who logs in comes to where they wanted, and may what their role may', { skip: !BASE }, async () => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  try {
    await page.goto(`${BASE}/#/dags`);
    await page.waitForURL(/\/auth\/login\?next=/);
    await page.getByLabel('Name').fill('vera');
    await page.getByLabel('Password').fill('not the password');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('Name or password is wrong.').waitFor();
    await page.getByLabel('Name').fill('vera');
    await page.getByLabel('Password').fill(process.env.LOGIN_PASSWORD);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'DAGs' }).waitFor();
    assert.match(page.url(), /#\/dags$/);
    const row = page.getByRole('row', { name: /steady/ });
    assert.ok(await row.getByRole('button', { name: 'Trigger' }).isDisabled(), 'a viewer starts nothing');
    const [cookie] = await context.cookies();
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite], ['_token', true, 'Strict']);
    const refused = await page.evaluate(() => fetch('/api/v2/dags/steady/dagRuns', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"logical_date": null}' }).then((answer) => answer.status));
    assert.equal(refused, 403);
    await page.getByRole('link', { name: 'Log out vera' }).click();
    await page.waitForURL(/\/auth\/login/);
    await page.goto(`${BASE}/#/dags`);
    await page.waitForURL(/\/auth\/login/);
  } finally {
    await context.close();
  }
});
