import { drop, now as when } from "tidegate";
// as string, <T>, : number
const a = "b as string", c = `<T>${a}`, d = /: number!/.test(a), e = a ? c : d;
label: for (const f of [e]) { if (f) continue label }
export class G { static #h = 1; static i() { return G.#h } get j() { return 1 } async k() {} *l() {} ["m"]() {} }
export const transform = (event) => ({ ...event, n: event?.o ?? event.p });
