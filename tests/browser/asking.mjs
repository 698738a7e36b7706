// What tasks ask people.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, link, run, until } from './harness.mjs';

const state = async (id, task) => (await api(`/api/v2/dags/ask/dagRuns/${encodeURIComponent(id)}${task ? `/taskInstances/${task}` : ''}`)).state;

test('what tasks ask is approved, filled in, and kept with who answered', async () => {
  const id = await run('ask', {}, false);
  await at(
    '#/home',
    async (page) => {
      await page.locator('section', { hasText: 'Running now' }).getByText('waits for an answer').first().waitFor();
      await page.getByRole('link', { name: 'Approvals' }).click();
      // Other runs may ask, too.
      const asked = (name) => page.getByRole('region', { name }).filter({ has: page.getByTitle(id) });
      const approve = asked('Pay the invoice?');
      await approve.getByText('Whoever rejects it ends the matter.').waitFor();
      await approve.getByRole('button', { name: 'Approve' }).click();
      await page.getByText('sign_off was answered: Approve.').waitFor();
      const form = asked('How much is it?');
      assert.equal(await form.getByLabel('Euros').inputValue(), '240');
      await form.getByLabel('Euros').fill('0');
      await form.getByRole('button', { name: 'OK' }).click();
      await form.getByRole('alert').getByText('euros').waitFor();
      assert.equal(await state(id, 'amount'), 'awaiting_input', 'what was refused changes nothing');
      await form.getByLabel('Euros').fill('250');
      await form.getByRole('button', { name: 'OK' }).click();
      await page.getByText('amount was answered: OK.').waitFor();
      await until('it is asked no more', async () => (await form.count()) === 0);
      await page.getByRole('button', { name: 'Answered' }).click();
      const answered = asked('How much is it?');
      await answered.getByText(/by Anonymous/).waitFor();
      await answered.getByText('"euros": 250').waitFor();
    },
    { expected: ['status of 4'] },
  );
  await until('the run goes on to its end', async () => (await state(id)) === 'success');
  const { value } = await api(`/api/v2/dags/ask/dagRuns/${encodeURIComponent(id)}/taskInstances/pay/xcomEntries/return_value`);
  assert.equal(value, 'paid 250');
});

test('what is rejected ends the matter, by keyboard alone', async () => {
  const id = await run('ask', {}, false);
  await until('it asks', async () => (await state(id, 'sign_off')) === 'awaiting_input');
  await at(link('ask', 'grid', { run: id, task: 'sign_off' }), async (page) => {
    await page.getByRole('region', { name: 'An answer is asked for' }).getByRole('button', { name: 'Reject' }).waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.textContent ?? '');
    await until('Tab reaches the answer', async () => {
      await page.keyboard.press('Tab');
      return (await focused()) === 'Reject';
    });
    await page.keyboard.press('Enter');
    await page.getByText('sign_off was answered: Reject.').waitFor();
    await until('what is below is skipped', async () => (await state(id, 'amount')) === 'skipped');
  });
});

test('instances of a mapped task are listed by their names, and opened', async () => {
  const id = await run('fan');
  await at(link('fan', 'grid', { run: id, task: 'each' }), async (page) => {
    const panel = page.getByRole('region', { name: 'Task instance' });
    await panel.getByText('3 instances').waitFor();
    await panel.getByLabel('State', { exact: true }).selectOption('failed');
    await until('only what failed is left', async () => (await panel.getByRole('listitem').count()) === 1);
    await panel.getByRole('link', { name: /\[2\] exit 3/ }).click();
    await panel.getByRole('heading', { name: 'each[2]' }).waitFor();
    await page.getByRole('log').getByText(/exit code 3|returned a non-zero exit code 3/).first().waitFor();
    await panel.getByRole('link', { name: 'All instances' }).click();
    await panel.getByRole('link', { name: /\[0\] echo one/ }).waitFor();
  });
});
