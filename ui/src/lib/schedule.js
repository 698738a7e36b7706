/** A DAG's schedule in words: "daily at 02:00 New York". What has no words of its own stays as it is written. */
const DAYS = ['Sundays', 'Mondays', 'Tuesdays', 'Wednesdays', 'Thursdays', 'Fridays', 'Saturdays', 'Sundays'];
const NAMES = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'];
const PRESETS = { '@hourly': '0 * * * *', '@daily': '0 0 * * *', '@weekly': '0 0 * * 0', '@monthly': '0 0 1 * *', '@yearly': '0 0 1 1 *', '@annually': '0 0 1 1 *' };

const number = /^\d+$/;
const two = (text) => text.padStart(2, '0');
const list = (words) => (words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`);

function ordinal(text) {
  const n = Number(text);
  const tail = n % 100 >= 11 && n % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${tail}`;
}

function weekdays(text) {
  const names = text.toLowerCase().replace(/[a-z]{3}/g, (name) => String(NAMES.indexOf(name)));
  if (names === '1-5') return 'weekdays';
  if (names === '0,6' || names === '6,0' || names === '6-7') return 'weekends';
  const parts = names.split(',');
  return parts.every((one) => number.test(one) && Number(one) <= 7) ? list(parts.map((one) => DAYS[Number(one)])) : null;
}

/** EventBridge's six fields as five: it counts days of the week from 1, and has a year. Others stay as they are. */
function ofFive(fields) {
  if (fields.length !== 6 || fields[5] !== '*') return fields;
  const [minute, hour, date, month, weekday] = fields.map((one) => (one === '?' ? '*' : one));
  return [minute, hour, date, month, weekday.replace(/\d+/g, (day) => String(Number(day) - 1))];
}

/** The words of cron fields; null where they say more than these words can. */
export function cronInWords(text) {
  const fields = ofFive((PRESETS[text] ?? text).trim().split(/\s+/));
  if (fields.length !== 5) return null;
  const [minute, hour, date, month, weekday] = fields;
  const step = /^(?:\*|0)\/(\d+)$/;
  const rest = date === '*' && month === '*' && weekday === '*';
  if (rest && hour === '*') {
    if (minute === '*') return 'every minute';
    const every = minute.match(step);
    if (every) return every[1] === '1' ? 'every minute' : `every ${every[1]} minutes`;
    if (number.test(minute)) return minute === '0' ? 'hourly' : `hourly at minute ${minute}`;
    const minutes = minute.split(',');
    return minutes.every((one) => number.test(one)) ? `hourly at minutes ${list(minutes)}` : null;
  }
  if (!number.test(minute)) return null;
  const everyHours = hour.match(step);
  if (rest && everyHours) return `every ${everyHours[1]} hours${minute === '0' ? '' : ` at minute ${minute}`}`;
  const hours = hour.split(',');
  if (!hours.every((one) => number.test(one))) return null;
  const at = `at ${list(hours.map((one) => `${two(one)}:${two(minute)}`))}`;
  if (rest) return `daily ${at}`;
  if (date === '*' && month === '*') {
    const days = weekdays(weekday);
    return days && `${days} ${at}`;
  }
  if (weekday !== '*' || !date.split(',').every((one) => number.test(one))) return null;
  const dates = `on the ${list(date.split(',').map(ordinal))}`;
  if (month === '*') return `monthly ${dates} ${at}`;
  return number.test(month) && MONTHS[Number(month) - 1] ? `yearly on ${MONTHS[Number(month) - 1]} ${date} ${at}` : null;
}

const place = (zone) => (!zone || zone === 'UTC' ? 'UTC' : zone.split('/').at(-1).replaceAll('_', ' '));

export function scheduleInWords(summary, zone) {
  if (!summary || summary === 'None') return 'by hand';
  if (summary === '@once') return 'once';
  if (summary === '@continuous') return 'continuously';
  if (summary === 'Asset') return 'when assets are updated';
  const said = cronInWords(summary);
  if (!said) return summary;
  return said.includes(' at ') && !said.includes('minute') ? `${said} ${place(zone)}` : said;
}
