// JSON that a person types: what it says, or a sentence about where it is wrong and what is wrong with it. Browsers word that each in its own
// way, some without a place, so what `JSON.parse` refuses is looked through once more here.

/** The value of a text. Throws a sentence that begins with `what` where it is no JSON. */
export function fromJson(text, what = 'This') {
  try {
    return JSON.parse(text);
  } catch {
    const [at, why] = fault(text);
    const before = text.slice(0, at).split('\n');
    const place = text.includes('\n') ? `line ${before.length}, column` : 'column';
    throw new Error(`${what} is no JSON yet, ${place} ${before.at(-1).length + 1}: ${why}.`);
  }
}

/** The same of what has to be an object; an empty text is an empty one. */
export function fromJsonObject(text, what = 'This') {
  const value = text.trim() ? fromJson(text, what) : {};
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error(`${what} has to be a JSON object, like {"key": "value"}; this is ${kind(value)}.`);
  return value;
}

const kind = (value) => (value === null ? 'null' : Array.isArray(value) ? 'a list' : { string: 'a text', number: 'a number', boolean: 'true or false' }[typeof value]);

const SPACE = /[ \t\r\n]*/y;
const TOKEN = /[{}[\]:,]|"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])|(?:true|false|null)(?!\w)/y;
const CLOSES = { '{': '}', '[': ']' };
const OTHERS = { True: 'true', False: 'false', None: 'null', undefined: 'null', NaN: 'null' };

/** Where a text stops being JSON, and why. */
function fault(text) {
  const open = [];
  let [at, wants, before] = [0, 'value', ''];
  const after = () => (open.length ? 'more' : 'nothing');
  for (;;) {
    SPACE.lastIndex = at;
    at += SPACE.exec(text)[0].length;
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    const close = CLOSES[open.at(-1)];
    if (at >= text.length) return [at, ended(wants, close)];
    if (!token) return [at, strange(text.slice(at), wants, close)];
    const isText = token[0] === '"';
    const isValue = isText || !'{}[]:,'.includes(token);
    if (token === close && (wants === 'more' || (before === open.at(-1) && wants !== 'colon'))) {
      open.pop();
      wants = after();
    } else if (wants === 'value' && (isValue || token === '{' || token === '[')) {
      if (isValue) wants = after();
      else open.push(token);
      if (token === '{') wants = 'name';
    } else if (wants === 'name' && isText) wants = 'colon';
    else if (wants === 'colon' && token === ':') wants = 'value';
    else if (wants === 'more' && token === ',') wants = open.at(-1) === '{' ? 'name' : 'value';
    else return [at, misplaced(token, wants, before, close)];
    before = token;
    at += token.length;
  }
}

const ended = (wants, close) => {
  if (wants === 'colon') return 'the name is not followed by `:` and a value';
  if (wants === 'value' && !close) return 'nothing is written';
  return wants === 'more' ? `it ends before its \`${close}\`` : `it ends where a ${wants} should stand`;
};

function misplaced(token, wants, before, close) {
  if (before === ',' && token === close) return `a \`,\` stands before \`${close}\`; take it away`;
  if (wants === 'nothing') return `\`${token}\` follows where the value has ended`;
  if (wants === 'colon') return `a \`:\` is missing between the name and \`${token}\``;
  if (wants === 'more') return '{}[]:'.includes(token) && token !== '{' && token !== '[' ? `\`${token}\` stands where \`,\` or \`${close}\` should` : `a \`,\` is missing before \`${token}\``;
  return wants === 'name' ? `a name in double quotes should stand in place of \`${token}\`` : `a value is missing before \`${token}\``;
}

/** What is no token of JSON. */
function strange(rest, wants, close) {
  if (rest[0] === '"') {
    const line = rest.split('\n')[0];
    const escape = /^"(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*(\\.?)/.exec(line)?.[1];
    if (escape === '\\u') return 'four hexadecimal digits belong behind `\\u`';
    if (escape && escape !== '\\"') return `\`${escape}\` in this text is no escape; a backslash itself is written \`\\\\\``;
    return 'this text has no closing `"` in its line; a line break in it is written `\\n`';
  }
  if (rest[0] === "'") return 'names and texts stand in double quotes, not in single ones';
  if (/^(#|\/[/*])/.test(rest)) return 'comments have no place in JSON';
  const word = /^[^\s,:{}[\]"]+/.exec(rest)?.[0] ?? rest[0];
  if (wants === 'name') return `a name stands in double quotes: \`"${word}"\``;
  if (wants === 'nothing' || wants === 'more' || wants === 'colon') return misplaced(word, wants, '', close);
  if (Object.hasOwn(OTHERS, word)) return `\`${word}\` is written \`${OTHERS[word]}\``;
  if (/^[-+.\d]/.test(word)) return `\`${word}\` is no number as JSON writes them; a text stands in double quotes`;
  return `\`${word}\` is no value; a text stands in double quotes: \`"${word}"\``;
}
