import { ansi, plain } from './ansi.js';

const LEVELS = { debug: 0, info: 1, warning: 2, warn: 2, error: 3, critical: 3, fatal: 3 };
export const LEVEL_NAMES = [
  [0, 'All lines'],
  [2, 'Warnings and errors'],
  [3, 'Errors'],
];

/** A worker writes a line's level before it. */
const PREFIX = /^(DEBUG|INFO|WARNING|ERROR|CRITICAL) - /;

/** How bad a line is: the level it carries, or, if that is worse, what it begins with. */
function levelOf(given, text) {
  const found = text.match(/^\[?(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b/i);
  const seems = found ? LEVELS[found[1].toLowerCase()] : /^Traceback |^[\w.]*(Error|Exception):/.test(text) ? 3 : 1;
  return Math.max(LEVELS[given?.toLowerCase()] ?? 0, seems);
}

/**
 * The server's lines as they are shown: numbered, with their level and coloured pieces, and by groups. A group begins with `::group::name`
 * (or `##[group]name`) and ends with `::endgroup::`.
 */
export function readLines(content, from = 0) {
  return content.map((line, i) => {
    const said = String(line.event ?? '');
    const prefix = said.match(PREFIX);
    const raw = prefix ? said.slice(prefix[0].length) : said;
    const text = plain(raw);
    const opens = text.match(/^(?:::group::|##\[group\])(.*)$/);
    return {
      number: from + i + 1,
      at: line.timestamp ?? null,
      text,
      pieces: ansi(raw),
      level: levelOf(line.level ?? prefix?.[1], text),
      opens: opens ? opens[1].trim() || 'group' : null,
      closes: /^(?:::endgroup::|##\[endgroup\])/.test(text),
    };
  });
}

/** Lines that are to be seen, as single ones and groups of them. */
export function arrange(lines, { find = '', level = 0 } = {}) {
  const wanted = find.toLowerCase();
  const narrow = wanted !== '' || level > 0;
  const holds = (line) => line.level >= level && line.text.toLowerCase().includes(wanted);
  const blocks = [];
  let group = null;
  for (const line of lines) {
    if (line.closes) {
      group = null;
    } else if (line.opens !== null) {
      group = { group: line.opens, number: line.number, lines: [] };
      if (!narrow) blocks.push(group);
    } else if (!narrow || holds(line)) {
      if (group && !narrow) group.lines.push(line);
      else blocks.push(line);
    }
  }
  return blocks;
}
