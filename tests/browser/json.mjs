// What is said of JSON that somebody typed: where it is wrong, and what is wrong with it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromJson, fromJsonObject } from '../../ui/src/lib/json.js';

const said = (text, read = fromJson) => {
  try {
    return read(text);
  } catch (error) {
    return error.message;
  }
};

const FAULTS = [
  ['{"a": 1', 'column 8: it ends before its `}`'],
  ['{"a": 1,}', 'column 9: a `,` stands before `}`; take it away'],
  ['[1 2]', 'column 4: a `,` is missing before `2`'],
  ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: a `,` is missing before `"b"`'],
  ['{"a" 1}', 'column 6: a `:` is missing between the name and `1`'],
  ['{"a":}', 'column 6: a value is missing before `}`'],
  ['{a: 1}', 'column 2: a name stands in double quotes: `"a"`'],
  ["{'a': 1}", 'column 2: names and texts stand in double quotes, not in single ones'],
  ['{"a": True}', 'column 7: `True` is written `true`'],
  ['{"a": None}', 'column 7: `None` is written `null`'],
  ['eu', 'column 1: `eu` is no value; a text stands in double quotes: `"eu"`'],
  ['2026-01-31', 'column 1: `2026-01-31` is no number as JSON writes them; a text stands in double quotes'],
  ['"C:\\dir"', 'column 1: `\\d` in this text is no escape; a backslash itself is written `\\\\`'],
  ['"abc', 'column 1: this text has no closing `"` in its line; a line break in it is written `\\n`'],
  ['{"a": 1} x', 'column 10: `x` follows where the value has ended'],
  ['# no', 'column 1: comments have no place in JSON'],
  ['[1}', 'column 3: `}` stands where `,` or `]` should'],
];

test('of JSON with a fault it is said where it is, and what', () => {
  for (const [text, why] of FAULTS) assert.equal(said(text), `This is no JSON yet, ${why}.`, text);
});

test('whatever is no JSON has a place and a reason', () => {
  const good = '{"a": [1, 2.5e3, {"b": "x\\n"}], "c": null, "d": true}';
  for (let at = 0; at < good.length; at++) {
    for (const text of [good.slice(0, at), good.slice(0, at) + good.slice(at + 1), `${good.slice(0, at)}}${good.slice(at)}`, `${good.slice(0, at)},${good.slice(at)}`, `${good.slice(0, at)}"${good.slice(at)}`]) {
      let value;
      try {
        value = JSON.parse(text);
      } catch {
        assert.match(said(text), /^This is no JSON yet, column \d+: (?!.*undefined).+\.$/, text);
        continue;
      }
      assert.deepEqual(said(text), value);
    }
  }
});

test('a conf has to be an object, and may be left out', () => {
  assert.deepEqual(said(' ', fromJsonObject), {});
  assert.deepEqual(said('{"a": 1}', fromJsonObject), { a: 1 });
  assert.match(said('[1]', fromJsonObject), /has to be a JSON object, like .*; this is a list/);
  assert.match(said('null', fromJsonObject), /this is null/);
});
