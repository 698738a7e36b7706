// Each window that a button opens, by the keyboard alone: the focus goes in, stays in, Escape closes it, and the focus is where it was. On a
// phone and in the dark: it fits, and axe finds nothing serious in it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, grave, link, run, until } from './harness.mjs';

let made;
/** What the windows are opened over: made when a test begins, since other tests run while this file is read. */
const windows = () => (made ??= make());

async function make() {
  const id = await run('shop');
  const xcoms = `/api/v2/dags/shop/dagRuns/${encodeURIComponent(id)}/taskInstances/check/xcomEntries`;
  await api(xcoms, 'POST', { key: 'by_keyboard', value: 1, map_index: -1 });
  await api('/api/v2/variables', 'POST', { key: 'by_keyboard', value: 'v' });
  await api('/api/v2/pools', 'POST', { name: 'by_keyboard', slots: 3 });
  await api('/api/v2/connections', 'POST', { connection_id: 'by_keyboard', conn_type: 'http' });
  await api('/api/updraft/v1/users', 'POST', { username: 'by_keyboard', password: 'a long enough password', role: 'user' });
  const asset = (await api('/api/v2/assets')).assets.find((one) => one.name === 'butter');

  const RUN = link('shop', 'grid', { run: id });
  const GROUP = link('shop', 'grid', { run: id, group: 'extract' });
  const TASK = link('shop', 'grid', { run: id, task: 'check' });
  const choose = (name) => (page) => page.getByLabel(`Choose ${name}`, { exact: true }).check();
  const rowOf = (name) => (page) => page.getByRole('row', { name });
  /** Where the button is, what it is called, the name of the window, what has to be done before, and in what part of the page the button is. */
  return [
    ['#/home', 'Go to… Ctrl K', 'Go to'],
    ['#/dags/shop', 'Trigger', 'Trigger shop'],
    ['#/dags/shop', 'Delete the DAG', 'Delete shop'],
    [RUN, 'Clear…', `Clear run ${id}`],
    [RUN, 'Mark as…', `Mark run ${id}`],
    [RUN, 'Note…', `Note of ${id}`],
    [RUN, 'Delete…', `Delete run ${id}`],
    [GROUP, 'Clear…', 'Clear group extract'],
    [GROUP, 'Mark as…', 'Mark group extract'],
    [TASK, 'Clear…', 'Clear check'],
    [TASK, 'Mark as…', 'Mark check'],
    [TASK, 'Note…', 'Note of check'],
    [link('shop', 'grid', { run: id, task: 'check', tab: 'xcoms' }), 'New XCom', 'New XCom'],
    [link('shop', 'grid', { run: id, task: 'check', tab: 'xcoms' }), 'Change by_keyboard', 'Change XCom by_keyboard'],
    [link('shop', 'grid', { run: id, task: 'check', tab: 'store' }), 'New entry', 'New entry'],
    [link('shop', 'runs'), 'Clear…', 'Clear 1 run', choose(id)],
    [link('shop', 'runs'), 'Mark as…', 'Mark 1 run', choose(id)],
    [link('shop', 'runs'), 'Delete…', 'Delete 1 run', choose(id)],
    [link('baker', 'backfills'), 'New backfill…', 'Backfill baker'],
    [`#/assets?asset=${asset.id}`, 'Note an update…', 'Note an update of butter'],
    ['#/variables', 'Import…', 'Import variables'],
    ['#/variables', 'New variable', 'New variable'],
    ['#/variables', 'Change by_keyboard', 'Change by_keyboard'],
    ['#/variables', 'Delete by_keyboard', 'Delete by_keyboard?'],
    ['#/variables', 'Delete…', 'Delete 1 variable?', choose('by_keyboard')],
    ['#/pools', 'New pool', 'New pool'],
    ['#/pools', 'Change by_keyboard', 'Change by_keyboard'],
    ['#/pools', 'Delete by_keyboard', 'Delete by_keyboard?'],
    ['#/connections', 'New connection', 'New connection'],
    ['#/connections', 'Change by_keyboard', 'Change by_keyboard'],
    ['#/connections', 'Delete by_keyboard', 'Delete by_keyboard?'],
    ['#/users', 'New user', 'New user'],
    ['#/users', 'New password…', 'New password of by_keyboard', null, rowOf(/^by_keyboard/)],
    ['#/users', 'Remove by_keyboard', 'Remove by_keyboard?'],
  ];
}

/** Goes to where a window is opened from, and returns the button. */
async function before(page, [hash, button, , first, within]) {
  await page.evaluate((to) => (location.hash = to), hash);
  const opener = (within?.(page) ?? page).getByRole('button', { name: button, exact: true }).first();
  await first?.(page);
  await opener.waitFor();
  await until(`“${button}” can be pressed`, () => opener.isEnabled());
  return opener;
}

const where = (page) =>
  page.evaluate(() => {
    const now = document.activeElement;
    const name = (now.getAttribute('aria-label') ?? now.textContent ?? '').trim().slice(0, 40);
    return { inside: Boolean(now.closest('dialog')), nowhere: now === document.body, name };
  });

/** What is wrong with a window for who has only a keyboard. */
async function byKeyboard(page, one) {
  const wrong = [];
  const [, button, name] = one;
  const opener = await before(page, one);
  await opener.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name, exact: true });
  await dialog.waitFor();
  if (!(await where(page)).inside) wrong.push(`${name}: the focus stays outside`);
  const seen = new Set();
  for (const key of [...Array(25).fill('Tab'), ...Array(5).fill('Shift+Tab')]) {
    await page.keyboard.press(key);
    const now = await where(page);
    // Between its last and its first stop the browser itself has the focus.
    if (!now.inside && !now.nowhere) wrong.push(`${name}: the focus gets out, to “${now.name}”`);
    seen.add(now.name);
  }
  if (!seen.has('Close')) wrong.push(`${name}: its Close is not reached`);
  await page.keyboard.press('Escape');
  await until(`${name} closes`, async () => (await dialog.count()) === 0);
  const back = await where(page);
  if (back.name !== button) wrong.push(`${name}: the focus is at “${back.nowhere ? 'nothing' : back.name}” afterwards`);
  return wrong;
}

const PHONE = { width: 390, height: 844, dark: true, still: true };

/** What is wrong with a window on a phone, and what axe finds in it. */
async function onPhone(page, one) {
  const [, , name] = one;
  await (await before(page, one)).click();
  const dialog = page.getByRole('dialog', { name, exact: true });
  await dialog.waitFor();
  const box = await dialog.boundingBox();
  const sideways = await dialog.evaluate((element) => [element, ...element.querySelectorAll('.body')].some((part) => part.scrollWidth > part.clientWidth + 1));
  const found = await grave(page);
  if (box.x < 0 || box.x + box.width > PHONE.width || box.y < 0 || box.y + box.height > PHONE.height) found.push(`it does not fit: ${JSON.stringify(box)}`);
  if (sideways) found.push('it scrolls sideways');
  await page.keyboard.press('Escape');
  await until(`${name} closes`, async () => (await dialog.count()) === 0);
  return found.map((text) => `${name}: ${text}`);
}

/** All that is wrong with windows, one after the other. */
async function ofAll(page, list, look) {
  const wrong = [];
  for (const one of list) wrong.push(...(await look(page, one)));
  return wrong;
}

test('each window takes the focus, keeps it, closes by Escape and gives it back', async () => {
  await at('#/home', async (page) => assert.deepEqual(await ofAll(page, await windows(), byKeyboard), []));
});

test('each window fits a phone, in the dark, and axe finds nothing serious in it', async () => {
  await at('#/home', async (page) => assert.deepEqual(await ofAll(page, await windows(), onPhone), []), PHONE);
});

const GUARDED = process.env.LOGIN_BASE;

test('the window of who is logged in does so too', { skip: !GUARDED }, async () => {
  const logIn = async (page) => {
    await page.goto(`${GUARDED}/auth/login?next=%2F%23%2Fhome`);
    await page.getByLabel('Name').fill('vera');
    await page.getByLabel('Password').fill(process.env.LOGIN_PASSWORD);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('heading', { name: 'Home' }).waitFor();
  };
  const password = (first) => ['#/home', 'My password', 'Password of vera', first];
  await at('#/home', async (page) => {
    await logIn(page);
    assert.deepEqual(await byKeyboard(page, password()), []);
  });
  await at(
    '#/home',
    async (page) => {
      await logIn(page);
      assert.deepEqual(await onPhone(page, password(() => page.getByRole('button', { name: 'More' }).click())), []);
    },
    PHONE,
  );
});
