// Task instances: logs, XComs, tries, timing, why they wait.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { api, at, link, run, until } from './harness.mjs';

test('a log has groups, colours, a search, levels and a file', async () => {
  const id = await run('shop', { region: 'us' });
  await at(link('shop', 'grid', { run: id, task: 'extract.orders' }), async (page) => {
    const log = page.getByRole('log');
    await log.getByText('orders of us').first().waitFor();
    assert.equal(await log.locator('.a-red').textContent(), 'red words');
    const plan = log.getByText('read the orders', { exact: false }).last();
    assert.equal(await plan.isVisible(), false, 'a group is folded at first');
    await log.getByText('The plan').last().click();
    await plan.waitFor();
    await page.getByLabel('Find in the log').fill('ORDERS OF');
    await until('what was searched for is marked', async () => /orders of/i.test((await log.locator('mark').first().textContent()) ?? ''));
    await page.getByLabel('Find in the log').fill('nowhere to be found');
    await log.getByText('No line fits').waitFor();
    await page.getByLabel('Find in the log').fill('');
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
    assert.match(file.suggestedFilename(), /^shop-manual__.*-extract\.orders-try1\.log$/);
    const text = await readFile(await file.path(), 'utf8');
    assert.ok(text.includes('red words') && !text.includes('\u001b'), text);
  });
  await at(link('shop', 'grid', { run: id, task: 'check' }), async (page) => {
    await page.getByLabel('Level', { exact: true }).selectOption('Errors');
    const lines = page.getByRole('log').locator('.line');
    await until('only errors are left', async () => (await lines.count()) > 0 && (await lines.allTextContents()).every((line) => /error|exit code/i.test(line)));
  });
});

test('a log comes while its task runs, and says why another waits', async () => {
  const id = await run('slow', {}, false);
  await at(link('slow', 'grid', { run: id, task: 'first' }), async (page) => {
    const log = page.getByRole('log');
    await log.getByText('line 3', { exact: false }).first().waitFor();
    await log.getByText('line 30', { exact: false }).first().waitFor();
    await page.getByText(/, following$/).waitFor();
    await page.goto(`${page.url().split('#')[0]}${link('slow', 'grid', { run: id, task: 'starving' })}`);
    await page.getByText('the pool `narrow` does not exist').waitFor();
    await page.goto(`${page.url().split('#')[0]}${link('slow', 'grid', { run: id, task: 'second' })}`);
    await page.getByText(/waits for `first` \(running\)/).waitFor();
  });
});

test('tries, timing, XComs, templates and the task itself', async () => {
  const id = await run('flaky');
  await at(link('flaky', 'grid', { run: id, task: 'flaky', tab: 'tries' }), async (page) => {
    const panel = page.getByRole('region', { name: 'Task instance' });
    await panel.getByRole('heading', { name: 'Try 2' }).waitFor();
    await panel.getByRole('link', { name: 'Log', exact: true }).first().click();
    await page.getByRole('log', { name: 'Log of try 1' }).getByText('try 1').first().waitFor();
    await panel.getByRole('combobox', { name: 'Try' }).selectOption('Try 2');
    await page.getByRole('log', { name: 'Log of try 2' }).getByText('try 2').first().waitFor();
    await panel.getByRole('link', { name: 'Timing' }).click();
    const steps = panel.locator('ol li');
    await until('all steps are told', async () => (await steps.count()) >= 7);
    const text = (await steps.allTextContents()).join('\n');
    assert.match(text, /The run was due[^]*The run started[^]*Try 1 started[^]*Try 1 ended: failed[^]*Try 2 started[^]*Try 2 ended: success/);
    await panel.getByText(/about \$0\.0000/).waitFor();
    await panel.getByRole('link', { name: 'Rendered' }).click();
    await panel.getByText('bash_command').waitFor();
    await panel.getByLabel('bash_command', { exact: true }).getByText('echo "try 2"; test 2 -ge 2').waitFor();
    await panel.getByRole('link', { name: 'Task', exact: true }).click();
    await panel.getByText('1, after 1.0 s').waitFor();
  });
  const shop = await run('shop', { limit: 7 });
  await at(link('shop', 'grid', { run: shop, task: 'extract.orders', tab: 'xcoms' }), async (page) => {
    await page.getByLabel('return_value', { exact: true }).getByText('{"rows": 7}').waitFor();
    await page.getByRole('button', { name: 'Copy return_value' }).click();
    await page.getByText('Copied.').waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), '{"rows": 7}');
  });
});

test('a run says what it was given and about what it costs', async () => {
  const id = await run('shop', { limit: 9 });
  await at(link('shop', 'grid', { run: id, tab: 'details' }), async (page) => {
    await page.getByLabel('Conf', { exact: true }).getByText('"limit": 9').waitFor();
    await page.getByRole('link', { name: 'Cost' }).click();
    await page.getByText(/^\$0\.0000/).waitFor();
    await page.getByRole('region', { name: 'Run', exact: true }).getByRole('link', { name: /^Tasks/ }).click();
    await page.getByRole('button', { name: /6 success/ }).waitFor();
  });
  const used = await api(`/api/updraft/v1/dags/shop/runs/${encodeURIComponent(id)}/used`);
  assert.equal(used.attempts, 5, 'an empty operator is no attempt');
});
