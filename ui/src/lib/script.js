/** The script that the page began with: its name says which build of the page this is. */
const mine = () => document.querySelector('script[type="module"][src]')?.getAttribute('src');

/** Why a part of the page did not come, in words, and whether the server is there by now. */
export async function whyNot(error) {
  const said = (message, status) => ({ message: `This part of the page could not be loaded: ${message}`, status, isThere: status !== 'gone' });
  let page;
  try {
    const answer = await fetch('/', { cache: 'no-store', credentials: 'same-origin', signal: AbortSignal.timeout(20_000) });
    page = await answer.text();
    if (!answer.ok) return said(`the server answers with status ${answer.status}.`, 'gone');
  } catch {
    return said('the server does not answer. Is `updraft standalone` running?', 'gone');
  }
  if (!page.includes(mine() ?? '')) return said('the server has another version of the page since you opened this one.', 'other');
  console.warn(error);
  return said('the connection to the server broke off.', 'broken');
}
