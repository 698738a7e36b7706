// Answers that come late, or in another order than they were asked for: what the page shows and does is what was meant.
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { api, at, DAGS, link, run, until } from './harness.mjs';

/**
 * Takes the answers to some requests on their way to the page. While `isHolding`, each is kept, as the server has given it, until `release`.
 */
async function late(page, pattern, fits = () => true) {
  const held = [];
  const its = { isHolding: false, count: 0, held };
  its.release = async () => {
    its.isHolding = false;
    await Promise.all(held.splice(0).map((go) => go()));
  };
  its.caught = () => until('a request is held', () => held.length > 0);
  await page.route(pattern, async (route) => {
    if (!fits(route.request())) return route.fallback();
    its.count++;
    const response = await route.fetch();
    const go = () => route.fulfill({ response }).catch(() => {});
    if (its.isHolding) held.push(go);
    else await go();
  });
  return its;
}

test('an answer of before a change does not hide the change', async (its) => {
  const resume = () => api('/api/v2/dags/steady', 'PATCH', { is_paused: false });
  await resume();
  its.after(resume);
  await at('#/dags', async (page) => {
    const answers = await late(page, '**/api/updraft/v1/overview*');
    const button = page.getByRole('row', { name: /steady/ }).getByRole('switch');
    await button.waitFor();
    answers.isHolding = true;
    await answers.caught();
    // Every word that the switch has from now on.
    await button.evaluate((element) => {
      globalThis.words = [];
      new MutationObserver(() => globalThis.words.push(element.getAttribute('aria-checked'))).observe(element, { attributes: true, attributeFilter: ['aria-checked'] });
    });
    answers.isHolding = false;
    await button.click();
    await page.getByText('steady is paused: no new runs start.').waitFor();
    await page.waitForTimeout(500);
    await answers.release();
    await until('the switch is off', async () => (await button.getAttribute('aria-checked')) === 'false');
    await page.waitForTimeout(1000);
    assert.deepEqual(await page.evaluate(() => globalThis.words), ['false']);
  });
});

test('Enter waits for what the letters lead to', async () => {
  await at('#/home', async (page) => {
    const answers = await late(page, '**/api/updraft/v1/overview*');
    await page.keyboard.press('Control+k');
    const field = page.getByRole('combobox');
    await page.getByRole('option').first().waitFor();
    answers.isHolding = true;
    await field.fill('steady');
    await page.keyboard.press('Enter');
    await answers.caught();
    assert.match(page.url(), /#\/home$/);
    await answers.release();
    await page.getByRole('heading', { name: 'steady' }).waitFor();
  });
});

test('a choice made while a clear is on its way does not spoil it', async () => {
  const id = await run('shop', { region: 'us' });
  await at(link('shop', 'grid', { run: id, task: 'check' }), async (page) => {
    const isReal = (request) => request.postDataJSON()?.dry_run === false;
    const answers = await late(page, '**/clearTaskInstances', isReal);
    answers.isHolding = true;
    await page.getByRole('button', { name: 'Clear…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Clear check' });
    await dialog.getByRole('button', { name: 'Clear 3' }).click();
    await answers.caught();
    const previews = await late(page, '**/clearTaskInstances', (request) => !isReal(request));
    previews.isHolding = true;
    await dialog.getByLabel('What is downstream').uncheck();
    await previews.caught();
    await answers.release();
    await page.getByText('Cleared 3 task instances').waitFor();
    assert.equal(await dialog.count(), 0);
    await previews.release();
  });
});

test('a window over several runs shows what becomes of them, not of those before', async () => {
  const ids = [await run('fan'), await run('fan')];
  await at('#/dags/fan/runs', async (page) => {
    const previews = await late(page, '**/clearDagRuns');
    const bar = page.getByRole('group', { name: 'The chosen runs' });
    previews.isHolding = true;
    for (const id of ids) await page.getByLabel(`Choose ${id}`).check();
    await bar.getByRole('button', { name: 'Clear…' }).click();
    await previews.caught();
    await page.getByRole('dialog', { name: 'Clear 2 runs' }).getByRole('button', { name: 'Cancel' }).click();
    await page.getByLabel(`Choose ${ids[1]}`).uncheck();
    previews.isHolding = false;
    await bar.getByRole('button', { name: 'Clear…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Clear 1 run' });
    await dialog.getByText('4 task instances will change').waitFor();
    await previews.release();
    await page.waitForTimeout(500);
    await dialog.getByText('4 task instances will change').waitFor();
  });
});

test('a log has ended when the server has said so, whatever comes after that', async () => {
  const gate = `${DAGS}/gate`;
  await writeFile(`${DAGS}/gated.yaml`, `gated:\n  schedule: null\n  tasks:\n    pass:\n      operator: BashOperator\n      bash_command: echo begun; until test -e '${gate}'; do sleep 0.1; done; echo through\n`);
  await until('the DAG is there', () => api('/api/v2/dags/gated').catch(() => null));
  const id = await run('gated', {}, false);
  await at(link('gated', 'grid', { run: id, task: 'pass' }), async (page) => {
    const answers = await late(page, '**/logs/1*');
    await page.getByText(/, following$/).waitFor();
    answers.isHolding = true;
    await answers.caught();
    answers.isHolding = false;
    await writeFile(gate, '');
    await page.getByText('through', { exact: true }).waitFor();
    await page.getByText(/\d+ lines$/).waitFor();
    await answers.release();
    await page.waitForTimeout(500);
    assert.equal(await page.getByText(/, following$/).count(), 0);
  });
  await Promise.all([rm(gate), rm(`${DAGS}/gated.yaml`)]);
  await until('its file is gone', async () => (await api('/api/v2/dags/gated')).is_stale);
  await api('/api/v2/dags/gated', 'DELETE');
});

test('letters typed in one go are one question, and the way back leads to the same list', async () => {
  const id = await run('steady');
  await at('#/runs', async (page) => {
    const answers = await late(page, '**/api/v2/dags/~/dagRuns*', (request) => request.url().includes('dag_id_pattern'));
    await page.getByLabel('DAG', { exact: true }).evaluate((field) => {
      for (const text of ['s', 'st', 'ste', 'stea', 'stead', 'steady']) {
        field.value = text;
        field.dispatchEvent(new InputEvent('input', { bubbles: true }));
      }
    });
    const all = page.locator('tbody tr');
    await until('runs of others are left out', async () => (await all.count()) > 0 && (await all.count()) === (await all.filter({ hasText: 'steady' }).count()));
    assert.equal(answers.count, 1);
    await page.getByRole('link', { name: id, exact: true }).click();
    await page.getByRole('heading', { name: 'steady' }).waitFor();
    await page.goBack();
    await page.getByRole('heading', { name: 'Runs' }).waitFor();
    assert.equal(await page.getByLabel('DAG', { exact: true }).inputValue(), 'steady');
    await page.getByRole('link', { name: id, exact: true }).waitFor();
  });
});

test('an address that nobody could have meant is answered in words', async () => {
  await at(
    '#/dags/%E0%A4%A/grid',
    async (page) => {
      await page.getByRole('alert').getByText('%E0%A4%A', { exact: false }).waitFor();
      await page.evaluate(() => (location.hash = '#/runs?from=many&since=soon&hours=none'));
      await page.locator('tbody tr').first().waitFor();
      await page.evaluate(() => (location.hash = '#/runs?from=100000'));
      await until('the last page is shown', async () => page.url().includes('from=') === false || (await page.locator('tbody tr').count()) > 0);
    },
    { expected: ['status of 4'] },
  );
});
