let a: string = "a", b: Map<string, number[]> = new Map();
let c!: number
let d: number
const { e, f: [g] }: { e: string; f: number[] } = h(), i : typeof a = "";
function h(j: string, k?: number, l?, ...m: unknown[]): { e: string, f: number[] } { return { e: j, f: [k] } }
function n(this: Date, o: string): asserts o is "p" { return this }
function q(this) { return this }
const r = function (s?: boolean /* kept */): s is true { return s };
const t = { u(v: string = "w"): void {}, get x(): number { return 1 }, async *y(): AsyncGenerator<number> {} };
for (const z of [a]) try { z } catch (error: unknown) { throw error }
for (let i: number = 0; i < 1; i++) { const { length }: string = a; }
