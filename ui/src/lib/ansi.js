/** Text with the escapes of a terminal, as pieces with the classes that colour them. Escapes that move a cursor are dropped. */
const COLOURS = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

export function ansi(text) {
  if (!text.includes('\u001b')) return [{ text, style: '' }];
  const pieces = [];
  const style = { colour: '', bold: false, faint: false, italic: false, under: false };
  let rest = 0;
  const push = (end) => {
    if (end <= rest) return;
    const names = [style.colour && `a-${style.colour}`, ...['bold', 'faint', 'italic', 'under'].filter((name) => style[name]).map((name) => `a-${name}`)];
    pieces.push({ text: text.slice(rest, end), style: names.filter(Boolean).join(' ') });
  };
  // eslint-disable-next-line no-control-regex
  for (const found of text.matchAll(/\u001b\[([0-9;?]*)([A-Za-z])|\u001b\][^\u0007]*\u0007|\u001b./g)) {
    push(found.index);
    rest = found.index + found[0].length;
    if (found[2] === 'm') apply(style, found[1].split(';').map(Number));
  }
  push(text.length);
  return pieces.length ? pieces : [{ text: '', style: '' }];
}

function apply(style, codes) {
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) Object.assign(style, { colour: '', bold: false, faint: false, italic: false, under: false });
    else if (code === 1) style.bold = true;
    else if (code === 2) style.faint = true;
    else if (code === 3) style.italic = true;
    else if (code === 4) style.under = true;
    else if (code === 22) style.bold = style.faint = false;
    else if (code === 23) style.italic = false;
    else if (code === 24) style.under = false;
    else if (code >= 30 && code <= 37) style.colour = COLOURS[code - 30];
    else if (code >= 90 && code <= 97) style.colour = COLOURS[code - 90];
    else if (code === 39) style.colour = '';
    // Colours by number take more codes; they are not told apart here.
    else if (code === 38 || code === 48) i += codes[i + 1] === 5 ? 2 : 4;
  }
}

/** The text alone. */
export const plain = (text) => ansi(text).map((piece) => piece.text).join('');
