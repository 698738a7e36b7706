// Logging in, and what a role may: against a server of its own, which asks for a login.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startIssuer } from './issuer.mjs';
import { PATIENCE, browser } from './harness.mjs';

const BASE = process.env.LOGIN_BASE;

test('who logs in comes to where they wanted, and may what their role may', { skip: !BASE }, async () => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
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
    await page.getByRole('button', { name: 'My password' }).click();
    const change = page.getByRole('dialog', { name: 'Password of vera' });
    await change.getByLabel('Old password').fill('not the password');
    await change.getByLabel('New password').fill('another password');
    await change.getByRole('button', { name: 'Change it' }).click();
    await change.getByRole('alert').getByText('the old password is another').waitFor();
    await change.getByLabel('Old password').fill(process.env.LOGIN_PASSWORD);
    await change.getByRole('button', { name: 'Change it' }).click();
    await page.waitForURL(/\/auth\/login/);
    await page.getByLabel('Name').fill('vera');
    await page.getByLabel('Password').fill('another password');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('link', { name: 'Log out vera' }).click();
    await page.waitForURL(/\/auth\/login/);
    await page.goto(`${BASE}/#/dags`);
    await page.waitForURL(/\/auth\/login/);
  } finally {
    await context.close();
  }
});

const GATEWAY = process.env.GATEWAY_BASE;

test('where a gateway wants tokens of an issuer, people log in there', { skip: !GATEWAY }, async () => {
  const issuer = await startIssuer(Number(process.env.ISSUER_PORT), 'updraft', GATEWAY);
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && !message.text().includes('401') && wrong.push(message.text()));
  try {
    assert.equal((await fetch(`${GATEWAY}/api/v2/dags`)).status, 401, 'nobody comes in without a token');
    // What the page asks for is refused when it is on its way to the issuer already.
    await page.route('**/api/v2/pools*', (route) => setTimeout(() => route.continue().catch(() => {}), 200));
    await page.goto(`${GATEWAY}/#/pools`);
    await page.getByRole('heading', { name: 'The issuer' }).waitFor();
    await page.getByRole('link', { name: 'Refuse' }).click();
    await page.getByRole('heading', { name: 'You are not logged in' }).waitFor();
    await page.getByText('ann says no').waitFor();
    await page.getByRole('button', { name: 'Log in again' }).click();
    await page.getByRole('link', { name: 'Go on as ann' }).click();
    await page.getByRole('heading', { name: 'Pools' }).waitFor();
    await page.getByText('default_pool').waitFor();
    assert.equal(issuer.asks(), 2, 'one login each time, however many requests are refused');
    assert.equal(page.url(), `${GATEWAY}/#/pools`, 'people come to where they wanted, and the code stays in no address');
    await page.getByRole('button', { name: 'Log out ann@example.com' }).waitFor();
    assert.ok(await page.getByRole('button', { name: 'New pool' }).isDisabled(), 'a viewer, as the token says');
    // The token is over: another one comes without anybody noticing.
    await issuer.end();
    await page.getByRole('link', { name: 'Audit log' }).click();
    await page.getByRole('heading', { name: 'Audit log' }).waitFor();
    await page.getByRole('link', { name: 'DAGs' }).click();
    await page.getByRole('heading', { name: 'DAGs' }).waitFor();
    assert.deepEqual(issuer.grants, ['authorization_code', 'refresh_token']);
    await page.getByRole('button', { name: 'Log out ann@example.com' }).click();
    await page.getByText('The issuer has ended the login.').waitFor();
    assert.deepEqual(wrong, []);
  } finally {
    await context.close();
    issuer.stop();
  }
});
