// Room for a script in the memory that the component begins with. `crates/plugin/src/script.rs` knows it by the same pattern, and writes
// a script over it: a zero, the length, and the UTF-16 of the text.

const HEAD_UNITS = 4;
const SCRIPT_UNITS_MAX = 65_536;
const CHUNK_UNITS = 4_096;

const room = new Uint16Array(HEAD_UNITS + SCRIPT_UNITS_MAX);
for (let at = 0, unit = 1; at < room.length; at++) {
  unit = (unit * 25_173 + 13_849) & 0xffff;
  // Without a byte that is zero: those are left out of the component.
  room[at] = unit | 0x0101;
}

/** The script that was written into the room; null where there is none. */
export function heldScript() {
  if (room[0] !== 0) return null;
  const end = HEAD_UNITS + Math.min(room[1] + room[2] * 65_536, SCRIPT_UNITS_MAX);
  let script = "";
  for (let at = HEAD_UNITS; at < end; at += CHUNK_UNITS) {
    script += String.fromCharCode.apply(null, room.subarray(at, Math.min(at + CHUNK_UNITS, end)));
  }
  return script;
}
