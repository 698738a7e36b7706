import { ansi, plain } from './ansi.js';

const LEVELS = { debug: 0, info: 1, warning: 2, warn: 2, error: 3, critical: 3, fatal: 3 };
export const LEVEL_NAMES = [
  [0, 'All lines'],
  [2, 'Warnings and errors'],
  [3, 'Errors'],
];

/** How bad a line is: the level it carries, else what it looks like. */
function levelOf(line, text) {
  if (line.level) return LEVELS[line.level.toLowerCase()] ?? 1;
  const found = text.match(/\b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b/);
  if (found) return LEVELS[found[1].toLowerCase()] ?? 1;
  return /^Traceback |^\w*(Error|Exception)\b/.test(text) ? 3 : 1;
}

/**
 * The server's lines as they are shown: numbered, with their level and coloured pieces, and by groups. A group begins with `::group::name`
 * (or `##[group]name`) and ends with `::endgroup::`.
 */
export function readLines(content, from = 0) {
  return content.map((line, i) => {
    const raw = String(line.event ?? '');
    const text = plain(raw);
    const opens = text.match(/^(?:::group::|##\[group\])(.*)$/);
    return {
      number: from + i + 1,
      at: line.timestamp ?? null,
      text,
      pieces: ansi(raw),
      level: levelOf(line, text),
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
