// What Airflow's UI lets people do beyond the views: notes, groups, whole runs, many runs at once, XComs, stores, assets, imports, pools in use.
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { api, at, DAGS, link, run, until } from './harness.mjs';

const runPath = (dagId, id) => `/api/v2/dags/${dagId}/dagRuns/${encodeURIComponent(id)}`;
const gone = (path) => fetch(process.env.BASE + path).then((answer) => answer.status === 404);
/** What the browser says of a request about this run that came after it had gone: what was asked for while it went. */
const ofRun = (id) => (text) => text.includes('status of 404') && text.includes(encodeURIComponent(id));
const states = async (dagId, id) => Object.fromEntries((await api(`${runPath(dagId, id)}/taskInstances`)).task_instances.map((one) => [one.task_id, one.state]));

test('notes of a run and a task are written, shown, undone and removed', async () => {
  const id = await run('shop');
  await at(link('shop', 'grid', { run: id }), async (page) => {
    await page.getByRole('button', { name: 'Note…' }).click();
    await page.getByRole('dialog').getByLabel('What others should know').fill('The shop was closed.');
    await page.getByRole('button', { name: 'Keep the note' }).click();
    await page.getByRole('region', { name: 'Run', exact: true }).getByText('The shop was closed.').waitFor();
    assert.equal((await api(runPath('shop', id))).note, 'The shop was closed.');
    await page.getByRole('button', { name: 'Undo' }).click();
    await until('the note is gone', async () => (await api(runPath('shop', id))).note === null);
  });
  await at(link('shop', 'grid', { run: id, task: 'tell' }), async (page) => {
    const kept = async () => (await api(`${runPath('shop', id)}/taskInstances/tell`)).note;
    const write = async (text) => {
      await page.getByRole('button', { name: 'Note…' }).click();
      await page.getByRole('dialog').getByLabel('What others should know').fill(text);
      await page.getByRole('button', { name: 'Keep the note' }).click();
    };
    await write('Told twice.');
    await page.getByRole('region', { name: 'Task instance' }).getByText('Told twice.').waitFor();
    assert.equal(await kept(), 'Told twice.');
    await write('');
    await until('the note is gone', async () => (await kept()) === null);
  });
});

test('a group is opened, marked and cleared as a whole', async () => {
  const id = await run('shop', { region: 'us' });
  await at(link('shop', 'grid', { run: id }), async (page) => {
    await page.getByRole('link', { name: `extract: success, 2 of 2 tasks ended, ${id}` }).click();
    const group = page.getByRole('region', { name: 'Group' });
    await group.getByRole('link', { name: /orders/ }).waitFor();
    await group.getByRole('button', { name: 'Mark as…' }).click();
    const mark = page.getByRole('dialog', { name: 'Mark group extract' });
    await mark.getByRole('button', { name: 'failed' }).click();
    await mark.getByText('2 task instances will change').waitFor();
    await mark.getByRole('button', { name: 'Mark as failed' }).click();
    await page.getByText('Marked extract as failed.').waitFor();
    const marked = await states('shop', id);
    assert.deepEqual([marked['extract.orders'], marked['extract.customers']], ['failed', 'failed']);
    await group.getByRole('button', { name: 'Clear…' }).click();
    const clear = page.getByRole('dialog', { name: 'Clear group extract' });
    await clear.getByLabel('What is downstream').uncheck();
    await clear.getByText('2 task instances will change').waitFor();
    await clear.getByLabel('Only what has failed').check();
    await clear.getByText('2 task instances will change').waitFor();
    await clear.getByRole('button', { name: 'Clear 2' }).click();
    await until('the group runs again', async () => (await states('shop', id))['extract.orders'] === 'success');
  });
});

test('a run is cleared by choice, and deleted after a warning', async () => {
  const id = await run('shop', { region: 'us' });
  await at(link('shop', 'grid', { run: id }), async (page) => {
    await page.getByRole('button', { name: 'Clear…' }).click();
    const clear = page.getByRole('dialog', { name: `Clear run ${id}` });
    await clear.getByText('6 task instances will change').waitFor();
    await clear.getByLabel('Only tasks that the DAG has got since').check();
    await clear.getByText('Nothing to clear: the run has all tasks that the DAG has now.').waitFor();
    await clear.getByLabel('Only what has failed').check();
    await clear.getByText('3 task instances will change').waitFor();
    await clear.getByLabel('On the latest version', { exact: false }).check();
    await clear.getByText('A note of it').click();
    await clear.getByLabel('Note').fill('Once more.');
    await clear.getByRole('button', { name: 'Clear 3' }).click();
    await page.getByText('Cleared 3 task instances').waitFor();
    await until('it has ended again', async () => (await states('shop', id)).check === 'failed');
    assert.equal((await api(runPath('shop', id))).note, 'Once more.');
    await page.getByRole('button', { name: 'Delete…' }).click();
    const dialog = page.getByRole('dialog', { name: `Delete run ${id}` });
    await dialog.getByText('There is no way back.', { exact: false }).waitFor();
    await dialog.getByRole('button', { name: 'Delete the run' }).click();
    await page.getByText(`Deleted ${id}.`).waitFor();
    assert.ok(await gone(runPath('shop', id)));
    await until('its panel is closed', async () => !page.url().includes('run='));
  }, { expected: [ofRun(id)] });
});

test('a whole run is marked', async () => {
  const id = await run('slow', {}, false);
  await at(link('slow', 'grid', { run: id }), async (page) => {
    await page.getByRole('button', { name: 'Mark as…' }).click();
    const dialog = page.getByRole('dialog', { name: `Mark run ${id}` });
    await dialog.getByRole('button', { name: 'failed' }).click();
    await dialog.getByText(/task instances? will change/).waitFor();
    await dialog.getByRole('button', { name: 'Mark as failed' }).click();
    await until('it has failed', async () => (await api(runPath('slow', id))).state === 'failed');
  });
});

test('runs are found, and several are marked, cleared and deleted at once', async () => {
  const ids = [await run('fan'), await run('fan')];
  await at('#/dags/fan/runs', async (page) => {
    const choose = async () => {
      for (const id of ids) await page.getByLabel(`Choose ${id}`).check();
      await page.getByText('2 runs', { exact: true }).first().waitFor();
    };
    const bar = page.getByRole('group', { name: 'The chosen runs' });
    await choose();
    await bar.getByRole('button', { name: 'Mark as…' }).click();
    await page.getByRole('dialog', { name: 'Mark 2 runs' }).getByRole('button', { name: 'Mark as failed' }).click();
    await page.getByText('Marked 2 runs as failed.').waitFor();
    for (const id of ids) assert.equal((await api(runPath('fan', id))).state, 'failed');
    await choose();
    await bar.getByRole('button', { name: 'Clear…' }).click();
    const clear = page.getByRole('dialog', { name: 'Clear 2 runs' });
    await clear.getByText('8 task instances will change').waitFor();
    await clear.getByRole('button', { name: 'Clear them' }).click();
    await page.getByText('Cleared 2 runs.').waitFor();
    for (const id of ids) await until('it has ended again', async () => (await api(runPath('fan', id))).end_date);
    await page.getByLabel('Run id').fill(ids[0].slice(8, 35));
    await until('one is left', async () => (await page.locator('tbody tr').count()) === 1);
    await page.getByLabel('Run id').fill('');
    await page.getByLabel(`Choose ${ids[1]}`).waitFor();
    await choose();
    await bar.getByRole('button', { name: 'Delete…' }).click();
    await page.getByRole('dialog', { name: 'Delete 2 runs' }).getByRole('button', { name: 'Delete 2 runs' }).click();
    await page.getByText('Deleted 2 runs.').waitFor();
    for (const id of ids) assert.ok(await gone(runPath('fan', id)));
  });
});

test('a DAG is read again, and deleted', async () => {
  await writeFile(`${DAGS}/fleeting.yaml`, 'fleeting:\n  schedule: null\n  tasks:\n    one: {operator: EmptyOperator}\n');
  await until('the DAG is there', async () => !(await gone('/api/v2/dags/fleeting')));
  await at('#/dags/fleeting/source', async (page) => {
    await page.getByRole('button', { name: 'Read the file again' }).click();
    await page.getByText('The file is being read again.').waitFor();
    await rm(`${DAGS}/fleeting.yaml`);
    await until('its file is gone', async () => (await api('/api/v2/dags/fleeting')).is_stale);
    await page.getByRole('button', { name: 'Delete the DAG' }).click();
    await page.getByRole('dialog', { name: 'Delete fleeting' }).getByRole('button', { name: 'Delete the DAG' }).click();
    await page.getByRole('heading', { name: 'DAGs', exact: true }).waitFor();
    assert.ok(await gone('/api/v2/dags/fleeting'));
  });
});

test('XComs are made, changed, deleted, and a change is undone', async () => {
  const id = await run('shop');
  const path = `${runPath('shop', id)}/taskInstances/check/xcomEntries`;
  await at(link('shop', 'grid', { run: id, task: 'check', tab: 'xcoms' }), async (page) => {
    await page.getByRole('button', { name: 'New XCom' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Key').fill('rows');
    await dialog.getByLabel('Value, as JSON').fill('{"n": 1');
    await dialog.getByText('This is no JSON', { exact: false }).waitFor();
    await dialog.getByLabel('Value, as JSON').fill('{"n": 1}');
    await dialog.getByRole('button', { name: 'Make it' }).click();
    await page.getByRole('heading', { name: 'rows' }).waitFor();
    await page.getByRole('button', { name: 'Change rows' }).click();
    await dialog.getByLabel('Value, as JSON').fill('2');
    await dialog.getByRole('button', { name: 'Change it' }).click();
    await page.getByText('Changed rows.').waitFor();
    assert.equal((await api(`${path}/rows`)).value, 2);
    await page.locator('.toast', { hasText: 'Changed rows.' }).getByRole('button', { name: 'Undo' }).click();
    await until('it is as before', async () => (await api(`${path}/rows`)).value.n === 1);
    await page.getByRole('button', { name: 'Delete rows' }).click();
    await page.getByText('Deleted rows.').waitFor();
    assert.ok(await gone(`${path}/rows`));
  });
});

test('what is kept for a task is made, changed and deleted', async () => {
  const id = await run('shop');
  await at(link('shop', 'grid', { run: id, task: 'check', tab: 'store' }), async (page) => {
    await page.getByText('Nothing is kept').waitFor();
    await page.getByRole('button', { name: 'New entry' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Key').fill('page');
    await dialog.getByLabel('Value, as JSON').fill('7');
    await dialog.getByRole('button', { name: 'Keep it' }).click();
    await page.getByRole('heading', { name: 'page' }).waitFor();
    await page.getByRole('button', { name: 'Change page' }).click();
    await dialog.getByLabel('Value, as JSON').fill('8');
    await dialog.getByRole('button', { name: 'Keep it' }).click();
    await page.getByText('Changed page.').waitFor();
    await page.getByRole('button', { name: 'Delete page' }).click();
    await page.getByText('Nothing is kept').waitFor();
  });
});

test('an update of an asset is noted with extra, and what a DAG holds of it is forgotten', async () => {
  await at('#/assets', async (page) => {
    await page.getByRole('link', { name: 'butter' }).click();
    const asset = page.getByRole('region', { name: 'Asset' });
    await asset.getByText('No DAG holds an update of it', { exact: false }).waitFor();
    await asset.getByRole('button', { name: 'Note an update…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Note an update of butter' });
    await dialog.getByText('DAGs that wait for it: breakfast.', { exact: false }).waitFor();
    await dialog.getByLabel('Extra, as JSON').fill('{"grams": 250}');
    await dialog.getByRole('button', { name: 'Note the update' }).click();
    await asset.getByText('"grams": 250', { exact: false }).waitFor();
    await asset.getByRole('button', { name: 'Forget it for breakfast' }).click();
    await asset.getByText('No DAG holds an update of it', { exact: false }).waitFor();
  });
});

test("a run says which assets it updated, and a task's events and other runs are listed", async () => {
  const id = await run('baker');
  await at(link('baker', 'grid', { run: id, tab: 'assets' }), async (page) => {
    await page.getByRole('link', { name: 'bread' }).waitFor();
    await page.getByRole('region', { name: 'Run', exact: true }).getByRole('link', { name: 'Events' }).click();
    await page.getByText('trigger dag run').waitFor();
    await page.evaluate((to) => (location.hash = to), link('baker', 'grid', { run: id, task: 'bake' }));
    await page.getByRole('link', { name: 'Other runs' }).click();
    // The grid that is left is a table with links of the same name.
    await page.getByRole('link', { name: 'All tasks' }).waitFor();
    await page.locator('table').getByRole('link', { name: id }).waitFor();
    await page.getByRole('link', { name: 'All tasks' }).click();
    await page.getByRole('cell', { name: 'bake', exact: true }).waitFor();
  });
});

test('a task that has triggered a run leads to it', async () => {
  const id = await run('caller');
  await at(link('caller', 'grid', { run: id, task: 'call' }), async (page) => {
    await page.getByRole('link', { name: 'Triggered DAG' }).click();
    await page.getByRole('heading', { name: 'steady' }).waitFor();
    await page.getByRole('region', { name: 'Run', exact: true }).getByText('by another DAG').waitFor();
  });
});

test("a pool shows who holds its slots while tasks run", async () => {
  await api('/api/v2/pools', 'POST', { name: 'cupboard', slots: 2 });
  const id = await run('larder', {}, false);
  await at('#/pools', async (page) => {
    await page.getByRole('row', { name: /cupboard/ }).getByText('2 running').waitFor();
    await page.getByRole('img', { name: '2 running, 0 queued, 0 deferred, 0 open' }).waitFor();
    const pool = await api('/api/v2/pools/cupboard');
    assert.deepEqual([pool.occupied_slots, pool.open_slots, pool.scheduled_slots], [2, 0, 1]);
    await page.evaluate((to) => (location.hash = to), link('larder', 'grid', { run: id, task: 'shelf.sugar' }));
    await api(runPath('larder', id), 'PATCH', { state: 'failed' });
    await page.evaluate(() => (location.hash = '#/pools'));
    await page.getByRole('img', { name: '0 running, 0 queued, 0 deferred, 2 open' }).waitFor();
  });
});

test('variables are imported, and several are deleted at once', async () => {
  await api('/api/v2/variables', 'POST', { key: 'in_a', value: 'old' });
  await at('#/variables', async (page) => {
    await page.getByRole('button', { name: 'Import…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Import variables' });
    await dialog.getByLabel('A JSON file').setInputFiles({ name: 'vars.json', mimeType: 'application/json', buffer: Buffer.from('{"in_a": "new", "in_b": {"value": {"rows": 3}, "description": "How many"}}') });
    await dialog.getByText('2 in the file, of which 1 exist (in_a): so nothing is imported').waitFor();
    await dialog.getByLabel('Keys that exist').selectOption('overwrite');
    await dialog.getByRole('button', { name: 'Import 2' }).click();
    await page.getByText('Imported 2 variables.').waitFor();
    const value = async (key) => (await api(`/api/v2/variables/${key}`)).value;
    assert.deepEqual([await value('in_a'), JSON.parse(await value('in_b'))], ['new', { rows: 3 }]);
    for (const key of ['in_a', 'in_b']) await page.getByLabel(`Choose ${key}`).check();
    await page.getByRole('group', { name: 'The chosen' }).getByRole('button', { name: 'Delete…' }).click();
    await page.getByRole('dialog', { name: 'Delete 2 variables?' }).getByRole('button', { name: 'Delete 2' }).click();
    await page.getByText('Deleted 2: in_a, in_b.').waitFor();
    assert.ok(await gone('/api/v2/variables/in_a'));
    await page.getByRole('button', { name: 'Undo' }).click();
    await until('they are back', async () => (await value('in_a').catch(() => '')) === 'new');
  });
});

test('runs, task instances and XComs of all DAGs are found', async () => {
  const id = await run('shop', { region: 'us' });
  await at('#/runs', async (page) => {
    await page.getByLabel('DAG', { exact: true }).fill('shop');
    await page.getByLabel('State').selectOption('failed');
    await page.locator('table').getByRole('link', { name: id }).waitFor();
    await page.getByLabel('due from').fill('2099-01-01');
    await page.getByText('No run fits').waitFor();
    await page.evaluate(() => (location.hash = '#/instances'));
    await page.getByRole('heading', { name: 'Task instances' }).waitFor();
    await page.getByLabel('Task', { exact: true }).fill('check');
    await page.getByLabel('State').selectOption('failed');
    await page.getByRole('row', { name: new RegExp(`shop.*check.*failed`) }).first().waitFor();
    await page.evaluate(() => (location.hash = '#/xcoms'));
    await page.getByRole('heading', { name: 'XComs' }).waitFor();
    await page.getByLabel('Task', { exact: true }).fill('orders');
    await page.getByRole('row', { name: /return_value shop extract.orders/ }).first().waitFor();
    await page.getByLabel('Key').fill('nothing');
    await page.getByText('No XCom fits').waitFor();
  });
});

test('the server tells how it fares and how it is set up', async () => {
  await at('#/server', async (page) => {
    await page.getByText('healthy').first().waitFor();
    await page.getByLabel('Find a setting').fill('parallelism');
    await page.getByRole('cell', { name: 'core.parallelism' }).waitFor();
    assert.equal(await page.locator('tbody tr').count(), 1);
  });
});

/** Goes on with the Tab key until what has the focus is called this. */
async function tabTo(page, name) {
  const focused = () => page.evaluate(() => (document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.labels?.[0]?.textContent ?? document.activeElement?.textContent ?? '').trim());
  const seen = [];
  for (let i = 0; i < 120; i++) {
    const now = await focused();
    if (now === name) return;
    seen.push(now.slice(0, 20));
    await page.keyboard.press('Tab');
  }
  assert.fail(`the Tab key does not come to “${name}”: ${seen.join(' | ')}`);
}

test('the keyboard alone triggers, notes, clears, marks and deletes', async () => {
  const expected = [];
  await at('#/dags/fan', async (page) => {
    await page.getByRole('button', { name: 'Trigger', exact: true }).waitFor();
    await tabTo(page, 'Trigger');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByText('What happens:').waitFor();
    await tabTo(page, 'Trigger a run');
    await page.keyboard.press('Enter');
    const panel = page.getByRole('region', { name: 'Run', exact: true });
    const id = await panel.getByRole('heading', { name: /^manual__/ }).textContent();
    expected.push(ofRun(id));
    const dialog = page.getByRole('dialog');
    await until('it ends', async () => (await api(runPath('fan', id))).end_date);
    await tabTo(page, 'Note…');
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    await tabTo(page, 'What others should know');
    await page.keyboard.type('Without a mouse.');
    await tabTo(page, 'Keep the note');
    await page.keyboard.press('Enter');
    await panel.getByText('Without a mouse.').waitFor();
    await tabTo(page, 'Mark as…');
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await until('Escape closes it', async () => (await dialog.count()) === 0);
    await tabTo(page, 'Clear…');
    await page.keyboard.press(' ');
    await dialog.getByText('4 task instances will change').waitFor();
    await tabTo(page, 'Clear 4');
    await page.keyboard.press('Enter');
    await page.getByText('Cleared 4 task instances').waitFor();
    await until('it ends again', async () => (await api(runPath('fan', id))).end_date);
    await tabTo(page, 'Delete…');
    await page.keyboard.press('Enter');
    await dialog.waitFor();
    await tabTo(page, 'Delete the run');
    await page.keyboard.press('Enter');
    await until('it is gone', () => gone(runPath('fan', id)));
  }, { expected });
});
