function a<T>(b: T): T { return b }
const c = <const T extends readonly unknown[]>(d: T): T => d;
const e = async <T,>(f: T) => f;
class G<in out T = string> extends Array<T> { h<U>(i: U) { return super.at<U>(0) ?? i } }
const j = new Map<string, Map<string, number>>();
const k = new Set<string>;
const l = a<Array<string>>(["m"]);
const n = a<string>`o`;
const p = j?.get<"q">("q"), r = j.get?.<"s">("s");
const t = a<string>;
const u = a<<T>(v: T) => T>(w => w);
const x = 1 < 2, y = 3 > 4, z = a < j, zz = a<j>1;
