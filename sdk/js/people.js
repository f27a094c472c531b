// Phone numbers, email addresses and hashed personal data.

import { idText } from "./event.js";

/** A phone number as E.164, such as "+15550100200"; undefined when it names no country: none is ever assumed. */
export function phone(value) {
  if (typeof value !== "string") return undefined;
  // The bracketed zero of "+49 (0) 30 123456" is dialled at home only.
  const plain = value.replace(/\(0\)/g, "").replace(/[\s\-.()[\]]/g, "").replace(/^00/, "+");
  return /^\+[1-9][0-9]{7,14}$/.test(plain) ? plain : undefined;
}

/** An email address without the white space around it; undefined for anything that is none. */
export function email(value) {
  const found = typeof value === "string" ? value.trim() : "";
  return /^[^@\s]+@[^@\s]+\.[^@\s.]+$/.test(found) ? found : undefined;
}

// The letters and digits of any script, and the marks on them: no white space, no punctuation, no symbols.
const words = (text) => text.replace(/[^\p{L}\p{M}\p{N}]/gu, "");

const NORMAL = {
  email: (text) => email(text),
  phone: (text) => phone(text)?.slice(1),
  name: words,
  city: words,
  state: words,
  // The first five digits of those of the United States.
  zip: (text) => /^(\d{5})[-\u2010-\u2015]\d{4}$/.exec(text)?.[1] ?? words(text),
  country: (text) => (/^[a-z]{2}$/.test(text) ? text : undefined),
  gender: (text) => ({ f: "f", female: "f", m: "m", male: "m" })[text],
  dob: (text) => {
    const found = /^(\d{4})([-/. ]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?:[t ].*)?$/s.exec(text);
    return found ? found[1] + found[3] + found[4] : undefined;
  },
  id: (text) => text,
};

/**
 * SHA-256 in lower hexadecimal of personal data in its normal spelling. `kind` is one of email, phone, name, city, state,
 * zip, country, gender, dob, id. 64 hexadecimal digits are a hash already and stay. Undefined for what is empty or none of
 * its kind.
 */
export function hashed(value, kind) {
  if (!Object.hasOwn(NORMAL, kind)) throw new TypeError(`hashed: the kind is ${kind}; use one of ${Object.keys(NORMAL).join(", ")}`);
  const text = idText(value)?.trim().toLowerCase();
  if (text === undefined || /^[0-9a-f]{64}$/.test(text)) return text;
  const normal = NORMAL[kind](text);
  return normal ? sha256(normal) : undefined;
}

// The constants of SHA-256 are the first 32 bits of the fractions of roots of primes.
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((prime) => n % prime !== 0)) PRIMES.push(n);
const fraction = (root) => ((root - Math.floor(root)) * 4294967296) | 0;
const ROUNDS = Int32Array.from(PRIMES, (prime) => fraction(prime ** (1 / 3)));
const START = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

/** SHA-256 of the UTF-8 of `text`, in lower hexadecimal. */
export function sha256(text) {
  const bytes = new TextEncoder().encode(text);
  const padded = new Uint8Array(((bytes.length + 72) >> 6) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(padded.length - 4, (bytes.length << 3) >>> 0);
  const state = Int32Array.from(START);
  const words = new Int32Array(64);
  const turned = (word, by) => (word >>> by) | (word << (32 - by));
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 64; i++) {
      if (i < 16) words[i] = view.getInt32(block + i * 4);
      else {
        const [late, early] = [words[i - 2], words[i - 15]];
        const sigma1 = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10);
        const sigma0 = turned(early, 7) ^ turned(early, 18) ^ (early >>> 3);
        words[i] = words[i - 16] + sigma0 + words[i - 7] + sigma1;
      }
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const one = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[i] + words[i]) | 0;
      const two = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, at) => { state[at] += word; });
  }
  return [...state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}
